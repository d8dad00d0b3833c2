// Command manifests reads manifests as kubectl and the API server do, for the comparison in e2e/test_manifests.py.
//
// Each line of standard input is the path of a file. Each line of standard output is what MCM's machine-controller
// would find in the cluster once `kubectl create --filename` had sent that file.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"log"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/cli-runtime/pkg/resource"
)

// Answer contains the objects in one file, or the reason why it can't be read.
type Answer struct {
	Objects []Object `json:"objects"`
	Error   string   `json:"error,omitempty"`
}

// Object is one object in a file. Besides the kind, at most one of its fields is set.
type Object struct {
	Kind         string            `json:"kind"`
	ProviderSpec []byte            `json:"providerSpec,omitempty"`
	Data         map[string][]byte `json:"data,omitempty"`
	Error        string            `json:"error,omitempty"`
}

func main() {
	answers := json.NewEncoder(os.Stdout)
	paths := bufio.NewScanner(os.Stdin)
	for paths.Scan() {
		if err := answers.Encode(read(paths.Text())); err != nil {
			log.Fatal(err)
		}
	}
}

func read(path string) Answer {
	answer := Answer{Objects: []Object{}}
	err := resource.NewLocalBuilder().Unstructured().
		FilenameParam(false, &resource.FilenameOptions{Filenames: []string{path}}).
		Flatten().Do().
		Visit(func(info *resource.Info, err error) error {
			if err != nil {
				return err
			}
			object, err := sent(info.Object.(*unstructured.Unstructured))
			if err != nil {
				object.Error = err.Error()
			}
			answer.Objects = append(answer.Objects, object)
			return nil
		})
	if err != nil {
		answer.Error = err.Error()
	}
	return answer
}

// sent returns an object as the machine-controller gets it, after the API server has stored it.
func sent(object *unstructured.Unstructured) (Object, error) {
	result := Object{Kind: object.GetKind()}
	stored := map[string]any{}
	if sent, err := json.Marshal(object.Object); err != nil {
		return result, err
	} else if err := utiljson.Unmarshal(sent, &stored); err != nil {
		return result, err
	}
	var onTheWire bytes.Buffer
	if err := json.NewEncoder(&onTheWire).Encode(stored); err != nil {
		return result, err
	}
	switch result.Kind {
	case "MachineClass":
		var class struct {
			ProviderSpec runtime.RawExtension `json:"providerSpec"`
		}
		if err := utiljson.Unmarshal(onTheWire.Bytes(), &class); err != nil {
			return result, err
		}
		result.ProviderSpec = class.ProviderSpec.Raw
	case "Secret":
		var secret corev1.Secret
		if err := utiljson.Unmarshal(onTheWire.Bytes(), &secret); err != nil {
			return result, err
		}
		result.Data = map[string][]byte{}
		for key, value := range secret.Data {
			result.Data[key] = append([]byte{}, value...)
		}
		for key, value := range secret.StringData { // like the API server's conversion
			result.Data[key] = []byte(value)
		}
	}
	return result, nil
}
