package bridge

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkMask masks a short message of a call whose secret is a cloud-config of 16 KiB, as each call that fails does:
//
//	go test -run '^$' -bench Mask -benchmem -benchtime 200x ./internal/bridge
func BenchmarkMask(b *testing.B) {
	var config strings.Builder
	config.WriteString("#cloud-config\nhostname: shoot--garden--cluster-pool-z1-5f7d9-abcde\nwrite_files:\n")
	for i := 0; config.Len() < 16<<10; i++ {
		fmt.Fprintf(&config, "- path: /opt/bin/step-%d\n  permissions: '0755'\n  content: |\n", i)
		for line := range 10 {
			fmt.Fprintf(&config, "    retry download https://registry.example/step-%d/%d --output=/var/lib/%d\n", i, line, i*line)
		}
	}
	secrets := map[string][]byte{"userData": []byte(config.String()), "token": []byte("a-token-of-the-cloud")}
	const message = "creating the VM: 409: the quota of cores in the zone north-1 is used up (request 7f3c2a90)"
	for b.Loop() {
		if mask(message, secrets) != message {
			b.Fatal("the message contains no secret")
		}
	}
}
