package main

import (
	_ "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	_ "github.com/open-policy-agent/opa/v1/rego"
	_ "google.golang.org/grpc"
)

func main() {}
