// Command pause does nothing until it is told to end, but waits for the orphans that it inherits as process 1: of a
// pod's sandbox, and of the node.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err == nil && pid <= 0 || err == syscall.ECHILD {
				break
			}
		}
	}
}
