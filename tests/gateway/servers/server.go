// An HTTP server on the socket of descriptor 3, which names its release.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	release, err := os.ReadFile("release.txt")
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		log.Fatal(err)
	}
	answer := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, string(release)) }
	log.Fatal(http.Serve(listener, http.HandlerFunc(answer)))
}
