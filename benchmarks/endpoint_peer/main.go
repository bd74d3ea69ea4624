// The reference for the credentials endpoint: Go's own net/http with the checks of the broker.
//
//	peer TOKEN_FILE BODY_FILE
//
// It serves the bytes of BODY_FILE at /v1/credentials on a free port of 127.0.0.1 and prints the port. Requests are
// refused for the same five reasons as by the broker, in the same order: a Host that is not a loopback name, a header of
// a proxy, a method other than GET, another token, another path.
package main

import (
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
)

const octet = `(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])`

var (
	loopback     = regexp.MustCompile(`^(?i)(localhost|127(\.` + octet + `){3}|\[::1\])(:[0-9]{1,5})?$`)
	proxyHeaders = []string{"X-Forwarded-", "X-Real-Ip", "Forwarded", "Via"}
)

func isForwarded(headers http.Header) bool {
	for name := range headers {
		for _, prefix := range proxyHeaders {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
	}
	return false
}

func main() {
	token, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	body, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		given := []byte(request.Header.Get("Authorization"))
		switch {
		case !loopback.MatchString(request.Host) || isForwarded(request.Header):
			response.WriteHeader(http.StatusForbidden)
		case request.Method != http.MethodGet:
			response.WriteHeader(http.StatusMethodNotAllowed)
		case subtle.ConstantTimeCompare(given, token) != 1:
			response.WriteHeader(http.StatusUnauthorized)
		case request.RequestURI != "/v1/credentials":
			response.WriteHeader(http.StatusNotFound)
		default:
			response.Header().Set("Content-Type", "application/json")
			response.Write(body)
		}
	})))
}
