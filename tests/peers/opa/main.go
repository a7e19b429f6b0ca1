// Answers what external authorization asks, over gRPC and over HTTP, by a policy in Rego: OPA as a library.
//
//	opa POLICY.rego
//
// The policy defines data.peers.answer. It is true, false, or an object with any of allowed, http_status, headers, body,
// response_headers_to_add and request_headers_to_remove. Its input is the CheckRequest in JSON; over HTTP only what HTTP says.
//
// The first line says where it listens: {"grpc": PORT, "http": PORT}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/open-policy-agent/opa/v1/rego"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
)

// What the policy answers.
type answer struct {
	Allowed  bool              `json:"allowed"`
	Status   int32             `json:"http_status"`
	Headers  map[string]string `json:"headers"`
	Body     string            `json:"body"`
	ToReply  map[string]string `json:"response_headers_to_add"`
	ToRemove []string          `json:"request_headers_to_remove"`
}

type server struct {
	authv3.UnimplementedAuthorizationServer
	query rego.PreparedEvalQuery
}

func (s *server) ask(ctx context.Context, input any) (*answer, error) {
	results, err := s.query.Eval(ctx, rego.EvalInput(input))
	if err != nil {
		return nil, err
	}
	if len(results) == 0 {
		return nil, errors.New("the policy answers nothing")
	}
	value := results[0].Expressions[0].Value
	if allowed, is := value.(bool); is {
		return &answer{Allowed: allowed}, nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	said := new(answer)
	return said, json.Unmarshal(text, said)
}

// Check is the method of Envoy's service.
func (s *server) Check(ctx context.Context, request *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	text, err := protojson.Marshal(request)
	if err != nil {
		return nil, err
	}
	var input any
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	said, err := s.ask(ctx, input)
	if err != nil {
		return nil, err
	}
	if said.Allowed {
		return &authv3.CheckResponse{
			Status: &status.Status{Code: int32(codes.OK)},
			HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
				Headers:              options(said.Headers),
				HeadersToRemove:      said.ToRemove,
				ResponseHeadersToAdd: options(said.ToReply),
			}},
		}, nil
	}
	denied := &authv3.DeniedHttpResponse{Headers: options(said.Headers), Body: said.Body}
	if said.Status != 0 {
		denied.Status = &typev3.HttpStatus{Code: typev3.StatusCode(said.Status)}
	}
	return &authv3.CheckResponse{
		Status:       &status.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: denied},
	}, nil
}

func options(headers map[string]string) []*corev3.HeaderValueOption {
	var options []*corev3.HeaderValueOption
	for key, value := range headers {
		options = append(options, &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: key, Value: value}})
	}
	return options
}

func (s *server) ServeHTTP(reply http.ResponseWriter, request *http.Request) {
	headers := map[string]any{}
	for key, lines := range request.Header {
		headers[strings.ToLower(key)] = strings.Join(lines, ",")
	}
	asked := map[string]any{"method": request.Method, "path": request.URL.RequestURI(), "host": request.Host, "headers": headers}
	input := map[string]any{"attributes": map[string]any{"request": map[string]any{"http": asked}}}
	said, err := s.ask(request.Context(), input)
	if err != nil {
		http.Error(reply, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, headers := range []map[string]string{said.Headers, said.ToReply} {
		for key, value := range headers {
			reply.Header().Set(key, value)
		}
	}
	switch {
	case said.Allowed:
		if len(said.ToRemove) > 0 {
			reply.Header().Set("x-envoy-auth-headers-to-remove", strings.Join(said.ToRemove, ","))
		}
	case said.Status != 0:
		reply.WriteHeader(int(said.Status))
	default:
		reply.WriteHeader(http.StatusForbidden)
	}
	fmt.Fprint(reply, said.Body)
}

func listen() (net.Listener, int) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return socket, socket.Addr().(*net.TCPAddr).Port
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("opa POLICY.rego")
	}
	policy, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	load := rego.New(rego.Query("data.peers.answer"), rego.Module(os.Args[1], string(policy)))
	query, err := load.PrepareForEval(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	asked := &server{query: query}
	grpcSocket, grpcPort := listen()
	httpSocket, httpPort := listen()
	fmt.Printf("{\"grpc\": %d, \"http\": %d}\n", grpcPort, httpPort)
	go func() { log.Fatal(http.Serve(httpSocket, asked)) }()
	serving := grpc.NewServer()
	authv3.RegisterAuthorizationServer(serving, asked)
	log.Fatal(serving.Serve(grpcSocket))
}
