// Command pause waits until it is stopped. It runs in the sandboxes of Pods and in guests on the nodes.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	for _, file := range os.Args[1:] {
		if err := leaveTrace(file); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
	}
	<-ended
}

// leaveTrace appends the name of this Pod to a file on a volume.
func leaveTrace(file string) error {
	opened, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer opened.Close()
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(opened, name)
	return err
}
