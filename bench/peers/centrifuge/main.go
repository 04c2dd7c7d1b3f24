// Command centrifuge is github.com/centrifugal/centrifuge with its Server-Sent Events handler and a server-side
// subscription to one channel; neither history nor presence is on.
//
//	centrifuge PORT
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/centrifugal/centrifuge"
)

const channel = "lobby"

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(port string) error {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{},
			Subscriptions: map[string]centrifuge.SubscribeOptions{channel: {}},
		}, nil
	})
	if err := node.Run(); err != nil {
		return err
	}
	http.Handle("GET /events", centrifuge.NewSSEHandler(node, centrifuge.SSEConfig{}))
	http.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = node.Publish(channel, data)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return http.ListenAndServe("127.0.0.1:"+port, nil)
}
