package bridge

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gardener/machine-controller-manager/pkg/util/provider/driver"
	mcm "github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/status"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

// toJSON returns the contents of a JSON string, without its quotes.
func toJSON(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted[1 : len(quoted)-1])
}

func toBase64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// wrapped breaks a text into lines, as in base64 in mails.
func wrapped(text, newline string) string {
	const width = 24
	var lines []string
	for len(text) > width {
		lines, text = append(lines, text[:width]), text[width:]
	}
	return strings.Join(append(lines, text), newline)
}

var encodings = map[string]func(string) string{
	"plain":                    func(s string) string { return s },
	"base64":                   toBase64,
	"base64 unpadded":          func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64 for URLs":          func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	"base64 for URLs unpadded": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64 wrapped":           func(s string) string { return wrapped(toBase64(s), "\r\n") },
	"base64 wrapped in JSON":   func(s string) string { return toJSON(wrapped(toBase64(s), "\n")) },
	"base64 percent-encoded":   func(s string) string { return url.QueryEscape(toBase64(s)) },
	"base64 twice":             func(s string) string { return toBase64(toBase64(s)) },
	"base64 behind a path":     func(s string) string { return "/data/" + toBase64(s) },
	"basic authentication":     func(s string) string { return toBase64("admin:" + s) },
	"within a base64 text":     func(s string) string { return toBase64("a:" + s + ":b") },
	"hex":                      func(s string) string { return hex.EncodeToString([]byte(s)) },
	"upper hex":                func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"query":                    url.QueryEscape,
	"path":                     url.PathEscape,
	"query twice":              func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"every byte percent":       percentEncode,
	"JSON":                     toJSON,
	"JSON in JSON":             func(s string) string { return toJSON(toJSON(s)) },
	"Go":                       func(s string) string { return strconv.QuoteToASCII(s) },
	"HTML":                     html.EscapeString,
}

func percentEncode(text string) string {
	var escaped strings.Builder
	for _, char := range []byte(text) {
		fmt.Fprintf(&escaped, "%%%02x", char)
	}
	return escaped.String()
}

func TestSecretsAreMaskedInEveryEncoding(t *testing.T) {
	for _, secret := range []string{"hunter2!", `p"a&s's\w<o>r/d+ é?`, "s3cr", "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n+/zz==\n-----END KEY-----"} {
		for name, encode := range encodings {
			t.Run(name+" of "+secret, func(t *testing.T) {
				encoded := encode(secret)
				got := mask("the cloud said: "+encoded+" was wrong.", map[string][]byte{"key": []byte(secret)})
				if !strings.HasPrefix(got, "the cloud said: ") || !strings.HasSuffix(got, " was wrong.") {
					t.Errorf("not only the secret is masked: %s", got)
				}
				if !strings.Contains(got, masked) || longestShared(got, encoded) > 8 {
					t.Errorf("%q of %q became %q", encoded, secret, got)
				}
			})
		}
	}
}

// longestShared returns the length of the longest text that both texts contain.
func longestShared(one, other string) int {
	longest := 0
	for start := range one {
		for start+longest < len(one) && strings.Contains(other, one[start:start+longest+1]) {
			longest++
		}
	}
	return longest
}

func TestPartsOfSecretsAreMasked(t *testing.T) {
	userData := "#cloud-config\nwrite_files:\n- content: |\n    token: abcdef.0123456789abcdef\n"
	account := `{"type":"service_account","private_key":"-----BEGIN\nMIIEvQIBADANBgkqhkiG9w0B\n","client":{"secret":"hunter2!"}}`
	settings := "auth:\n  password: swordfish\nlist: [disk, sesame42]\n"
	secrets := map[string][]byte{"userData": []byte(userData), "account": []byte(account), "config": []byte(settings + "\n")}
	for message, want := range map[string]string{
		"bad line: token: abcdef.0123456789abcdef!":        "bad line:***!",
		"token abcdef.0123456789abc…":                      "token***…",
		"key -----BEGIN\nMIIEvQIBADANBgkqhkiG9w0B\n, cut":  "key ***, cut",
		"password hunter2!, swordfish, sesame42":           "password ***, ***, ***",
		"the disk is full":                                 "the disk is full",
		"nothing of it at all is here: [a] %41 &amp; YQ==": "nothing of it at all is here: [a] %41 &amp; YQ==",
	} {
		requireEqual(t, mask(message, secrets), want)
	}
}

func TestNamesThatStandInTheClearAreShown(t *testing.T) {
	const name, cluster, project = "shoot--garden--cluster-pool-z1-5f7d9-abcde", "shoot--garden--cluster", "gardener-project-17"
	secrets := map[string][]byte{
		"userData": []byte("#cloud-config\nhostname: \"" + name + "\"\nfqdn: " + name + ".example\n" +
			"runcmd:\n- join --cluster=" + cluster + " --as " + name + " --token abcdef.0123456789abcdef\n" +
			"dsn: mysql://" + cluster + ":hunter2@db.example\nuser: " + cluster + "\npassword: " + cluster + "-2\n"),
		"account":  []byte(`{"project_id": "` + project + `", "client_email": "robot@` + project + `.example", "private_key": "swordfish-` + project + `"}`),
		"password": []byte("medium"),
	}
	inClear := []string{name, `{"size":"medium","tags":{"kubernetes.io/cluster/` + cluster + `":"1"}}`}
	for message, want := range map[string]string{
		"VM " + name + " not found":                   "VM " + name + " not found",
		`{"hostname": "` + name + `", "step": 2}`:     `{"hostname": "` + name + `", "step": 2}`,
		`{\"vm\": \"` + name + `\"}`:                  `{\"vm\": \"` + name + `\"}`,
		"no network for --cluster=" + cluster + "?":   "no network for***?",
		"no network for cluster " + cluster + "?":     "no network for cluster " + cluster + "?",
		"no quota in projects/" + project + "/zones":  "no quota in projects/" + project + "/zones",
		"login as " + cluster + ":hunter2@db.example": "login ***",
		"the password " + cluster + "-2 is wrong":     "the password*** is wrong",
		"the password medium is wrong":                "the password *** is wrong",
		"the key swordfish-" + project + " is wrong":  "the key *** is wrong",
		name + " --token abcdef.0123456789abcdef":     masked,
		"the token is abcdef.0123456789abcdef":        "the token is***",
		"hidden: " + toBase64("--as "+name):           "hidden: " + masked + "=",
	} {
		requireEqual(t, mask(message, secrets, inClear...), want)
	}
	requireEqual(t, mask("VM "+name+" not found", secrets), "VM***not found")
}

func TestShortValuesAreNoSecrets(t *testing.T) {
	requireEqual(t, mask("the VM in zone 1 has no disk", map[string][]byte{"a": []byte("1"), "b": []byte("the"), "c": nil}),
		"the VM in zone 1 has no disk")
}

func TestLongMessagesAreCutAfterTheirSecrets(t *testing.T) {
	secret := bytes.Repeat([]byte("s3cr3t-"), 200)
	for _, offset := range []int{maxMessage - 20, maxMessage - 1, 2*maxMessage - 20} {
		got := mask(strings.Repeat("é ", offset/3)+string(secret)+strings.Repeat("x", 3*maxMessage), map[string][]byte{"key": secret})
		if len(got) > maxMessage+30 || strings.Contains(got, "s3cr") {
			t.Errorf("%d bytes, which end with %q", len(got), got[len(got)-100:])
		}
		if !strings.HasSuffix(got, "… (cut at 4096 bytes)") {
			t.Errorf("the message does not say that it was cut: %q", got[len(got)-100:])
		}
	}
}

// Time and memory must be limited, because a driver or its cloud chooses the message, and users choose the secrets.
func TestMaskingIsBounded(t *testing.T) {
	userData := make([]byte, 1<<18)
	for i := range userData {
		userData[i] = "abcd"[i*i%7%4]
	}
	secrets := map[string][]byte{"userData": userData, "a": bytes.Repeat([]byte("a"), 1<<18)}
	for _, unit := range []string{"A", "61", "%25", "&amp;", `\\`, "YWFh", "abcd", " word", "a\n"} {
		short, long := strings.Repeat(unit, 2*maxMessage/len(unit)+1), strings.Repeat(unit, 1<<20)
		allocations := func(message string) float64 {
			return testing.AllocsPerRun(1, func() { mask(message, secrets) })
		}
		ofShort, ofLong := allocations(short), allocations(long)
		if ofLong > 1.1*ofShort+100 || ofShort > 8*2*maxMessage {
			t.Fatalf("%q: %.0f allocations, and %.0f for a long message", unit, ofShort, ofLong)
		}
		quickest := map[string]time.Duration{short: time.Hour, long: time.Hour}
		for range 4 { // this process is not alone
			for message, before := range quickest {
				start := time.Now()
				mask(message, secrets)
				quickest[message] = min(before, time.Since(start))
			}
		}
		if ratio := float64(quickest[long]) / float64(quickest[short]); ratio > 8 { // without a limit, more than 100
			t.Errorf("%q: a long message takes %.0f times as long", unit, ratio)
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add("message", "secret")
	f.Add("aHVudGVyMg==", "hunter2")
	f.Fuzz(func(t *testing.T, message, secret string) {
		got := mask(message, map[string][]byte{"key": []byte(secret)})
		if secret = strings.TrimSpace(secret); len(secret) >= minSecret && strings.Contains(got, secret) &&
			!strings.Contains(secret, "*") && !strings.Contains(secret, "cut") {
			t.Errorf("%q contains %q", got, secret)
		}
	})
}

func TestMessagesHoldNoSecretsOfTheirCall(t *testing.T) {
	withToken := &corev1.Secret{Data: map[string][]byte{"token": []byte("hunter2!")}}
	failure := status.Error(grpccodes.Unauthenticated, "401: Authorization: Basic "+toBase64("me:hunter2!"))
	r := &remote{
		capabilities: everything,
		create: func(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
			return nil, failure
		},
		delete: func(context.Context, *cmi.DeleteMachineRequest) (*cmi.DeleteMachineResponse, error) {
			return nil, failure
		},
		status: func(context.Context, *cmi.GetMachineStatusRequest) (*cmi.GetMachineStatusResponse, error) {
			return nil, failure
		},
		list: func(context.Context, *cmi.ListMachinesRequest) (*cmi.ListMachinesResponse, error) {
			return nil, failure
		},
	}
	d := r.start(t)
	_, create := d.CreateMachine(t.Context(), &driver.CreateMachineRequest{Machine: machine, MachineClass: class, Secret: withToken})
	_, deletion := d.DeleteMachine(t.Context(), &driver.DeleteMachineRequest{Machine: machine, MachineClass: class, Secret: withToken})
	_, look := d.GetMachineStatus(t.Context(), &driver.GetMachineStatusRequest{Machine: machine, MachineClass: class, Secret: withToken})
	_, list := d.ListMachines(t.Context(), &driver.ListMachinesRequest{MachineClass: class, Secret: withToken})
	for _, err := range []error{create, deletion, look, list} {
		got, _ := mcm.FromError(err)
		requireEqual(t, got.Message(), "401: Authorization: Basic bWU6***=")
	}
}

func TestMessagesAndStatesNameTheirMachine(t *testing.T) {
	const name, id, group = "worker-5f7d9-abcde", "test:///north-1/vm-4711", "security-group-7"
	named, inGroup, withNames := machine.DeepCopy(), class.DeepCopy(), secret.DeepCopy()
	named.Name, named.Spec.ProviderID = name, id
	inGroup.ProviderSpec.Raw = []byte(`{"group":"` + group + `"}`)
	withNames.Data["userData"] = []byte("#cloud-config\nhostname: " + name + "\nid: " + id + "\ngroup: " + group + "\npassword: hunter2!\n")
	for said, shown := range map[string]string{
		fmt.Sprintf("%s (%s) in %s", name, id, group): fmt.Sprintf("%s (%s) in %s", name, id, group),
		name + ": hunter2!":                           name + ": ***",
	} {
		r := &remote{capabilities: everything}
		r.delete = func(ctx context.Context, _ *cmi.DeleteMachineRequest) (*cmi.DeleteMachineResponse, error) {
			if err := grpc.SetTrailer(ctx, metadata.Pairs(lastKnownStateKey, "order of "+name)); err != nil {
				t.Error(err)
			}
			return nil, status.Error(grpccodes.Internal, said)
		}
		deleted, err := r.start(t).DeleteMachine(t.Context(),
			&driver.DeleteMachineRequest{Machine: named, MachineClass: inGroup, Secret: withNames})
		got, _ := mcm.FromError(err)
		requireEqual(t, got.Message(), shown)
		requireEqual(t, deleted.LastKnownState, "order of "+name)
	}
}
