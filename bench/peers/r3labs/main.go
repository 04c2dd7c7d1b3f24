// Command r3labs is github.com/r3labs/sse/v2 on Echo: the server as the library's README sets it up, in the handler
// that Echo's cookbook gives. After POST /count it does headcount's job in the way its callbacks
// invite one to.
//
//	r3labs PORT
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/labstack/echo/v4"
	"github.com/r3labs/sse/v2"
)

const stream = "lobby"

func main() {
	var counting atomic.Bool
	var mu sync.Mutex
	users := 0
	var server *sse.Server
	tell := func(change int) {
		mu.Lock()
		users += change
		now := users
		mu.Unlock()
		if counting.Load() {
			server.Publish(stream, &sse.Event{Event: []byte("user count"), Data: []byte(strconv.Itoa(now))})
		}
	}
	server = sse.NewWithCallback(
		func(string, *sse.Subscriber) { tell(1) },
		func(string, *sse.Subscriber) { tell(-1) },
	)
	server.CreateStream(stream)

	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.GET("/events", func(c echo.Context) error {
		go func() {
			<-c.Request().Context().Done() // the client is disconnected here
		}()
		server.ServeHTTP(c.Response(), c.Request())
		return nil
	})
	e.POST("/publish", func(c echo.Context) error {
		data, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		server.Publish(stream, &sse.Event{Event: []byte("news"), Data: data})
		return c.NoContent(http.StatusNoContent)
	})
	e.POST("/count", func(c echo.Context) error {
		counting.Store(true)
		return c.NoContent(http.StatusNoContent)
	})
	if err := e.Start("127.0.0.1:" + os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
