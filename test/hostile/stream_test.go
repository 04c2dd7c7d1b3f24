package hostile

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// neverRead stays in the room while more is emitted than its sockets hold.
func neverRead(f *field) error {
	all, err := f.streams(50, "room=lobby")
	defer all.reset()
	if err != nil {
		return err
	}
	f.crowd.Pad(strings.Repeat("x", 16<<10))
	defer f.crowd.Pad("")
	time.Sleep(3 * time.Second)
	return nil
}

func slowRead(f *field) error {
	all, err := f.streams(20, "room=lobby")
	defer all.reset()
	if err != nil {
		return err
	}
	for range 3 {
		time.Sleep(time.Second)
		for _, c := range all {
			c.SetReadBuffer(4096)
			c.Read(make([]byte, 1))
		}
	}
	return nil
}

// halfClose ends its sending side and stays. It is not counted.
func halfClose(f *field) error {
	all, err := f.streams(100, "room=lobby")
	defer all.close()
	if err != nil {
		return err
	}
	for _, c := range all {
		c.CloseWrite()
	}
	return f.counted("lobby", healthy)
}

// resetStorm breaks 3,000 connections at any moment of their short lives.
func resetStorm(f *field) error {
	return crew(3000, func(i int) error {
		conn, err := f.dial()
		if err != nil {
			return err
		}
		request := get("/events?room=lobby")
		io.WriteString(conn, request[:rand.IntN(len(request)+1)])
		if i%2 == 0 {
			io.WriteString(conn, request)
			time.Sleep(rand.N(5 * time.Millisecond))
		}
		conns{conn}.reset()
		return nil
	})
}

// manyRooms makes up 10,000 rooms, with a stream and a sign of life in each.
func manyRooms(f *field) error {
	return crew(10_000, func(i int) error {
		room := fmt.Sprintf("made-up-%d", i)
		if i%10 == 0 {
			body := fmt.Sprintf(`{"room":%q,"ids":["made-up-%d"]}`, room, i)
			if err := f.each([]string{post("/alive", body), post("/leave", body)}, http.StatusNoContent, http.StatusTooManyRequests); err != nil {
				return err
			}
		}
		return f.expect(get("/events?room="+room+"&id=made-up-id"), http.StatusOK, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	})
}

// pipelineBehindStream sends requests without end on connections that are streams by now.
func pipelineBehindStream(f *field) error {
	all, err := f.streams(20, "room=lobby")
	defer all.reset()
	if err != nil {
		return err
	}
	more := strings.Repeat(get("/count"), 20_000)
	var writing sync.WaitGroup
	for _, c := range all {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		writing.Go(func() { io.WriteString(c, more) })
	}
	writing.Wait()
	return nil
}

// sameID opens a hundred streams with one id in one room, and one in another room. It is one user in each.
func sameID(f *field) error {
	all, err := f.streams(100, "room=lobby&id=samesame")
	defer all.close()
	other, err2 := f.streams(1, "room=other&id=samesame")
	defer other.close()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	return errors.Join(f.counted("lobby", healthy+1), f.counted("other", 1))
}

// speakForOthers says goodbye for a thousand ids that it has guessed. Whoever knows an id may act for it, and the
// server shows no id to anybody else. Then it renews a hundred ids of its own, which count until it says goodbye for
// them.
func speakForOthers(f *field) error {
	for range 10 {
		body := `{"room":"lobby","ids":` + hundredIDs() + `}`
		if err := f.expect(post("/leave", body), http.StatusNoContent); err != nil {
			return err
		}
		if got := f.server.Count("lobby"); got != healthy {
			return fmt.Errorf("after goodbyes for ids that nobody has the count is %d, want %d", got, healthy)
		}
	}
	// The ids of healthy ones, in another room.
	err := f.expect(post("/leave", `{"room":"other","ids":["crowd-000001","crowd-000003"]}`), http.StatusNoContent)
	own := `{"room":"lobby","ids":` + hundredIDs() + `}`
	for range 5 {
		// Its address may have brought some before, and a hundred are all it may bring.
		err = errors.Join(err, f.expect(post("/alive", own), http.StatusNoContent, http.StatusServiceUnavailable))
	}
	if got := f.server.Count("lobby"); got > healthy+100 {
		err = errors.Join(err, fmt.Errorf("after signs of life for 100 ids the count is %d, want at most %d", got, healthy+100))
	}
	return errors.Join(err, f.expect(post("/leave", own), http.StatusNoContent))
}

func hundredIDs() string {
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = fmt.Sprintf(`"crowd-%06d"`, 1_000+i*1000+rand.IntN(1000))
	}
	return "[" + strings.Join(ids, ",") + "]"
}

// abandonedPolls hangs up before the answers come.
func abandonedPolls(f *field) error {
	return crew(300, func(i int) error {
		conn, err := f.send(get("/events?poll=1&room=lobby&lastEventId=" + url.QueryEscape(fmt.Sprintf("x.%d.y.z", i))))
		if err != nil {
			return err
		}
		time.Sleep(rand.N(20 * time.Millisecond))
		if i%2 == 0 {
			conn.SetLinger(0)
		}
		return conn.Close()
	})
}

// manyProbes asks for more of the doctor's probes than there may be at once, and does not read them.
func manyProbes(f *field) error {
	all := make(conns, 200)
	defer all.reset()
	refused := make(chan bool, len(all))
	err := crew(len(all), func(i int) (err error) {
		if all[i], err = f.send(get("/doctor/stream?gaps=60")); err != nil {
			return err
		}
		first := make([]byte, len("HTTP/1.1 503"))
		if _, err := io.ReadFull(all[i], first); err == nil && string(first) != "HTTP/1.1 200" {
			refused <- true
		}
		return nil
	})
	if err == nil && len(refused) < 100 {
		err = fmt.Errorf("%d of %d probes were refused, want those beyond 64", len(refused), len(all))
	}
	return err
}
