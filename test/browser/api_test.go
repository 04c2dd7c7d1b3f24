package browser

import (
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headcount/test/rig"
)

const token = "a-token-of-the-test"

// emit emits as a script of a user would: with a form.
func emit(t *testing.T, server *rig.Server, room, event, data string) {
	t.Helper()
	form := url.Values{"room": {room}, "event": {event}, "data": {data}}
	r, err := http.NewRequest(http.MethodPost, server.URL+"/emit", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatalf("emit %s: %v", event, err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("emit %s: status %s", event, answer.Status)
	}
}

// js is what the expressions of TestAPI may use.
const js = `
	window.heard = (socket, name) => new Promise((resolve) => socket.once(name, resolve))
	window.until = async (what) => { while (!what()) await new Promise((resolve) => setTimeout(resolve, 5)) }
	window.users = async (room) => (await (await fetch('/count?room=' + room)).json()).users
	true`

// Each expression runs in a page and a room of its own. It returns 'ok' or what was wrong.
func TestAPI(t *testing.T) {
	server := rig.Start(t, "-token", token)
	chrome := newChrome(t)

	tests := []struct {
		name string
		emit []string // events that the server emits once the page has said `ready`; the data is the name
		js   string
		but  string // what the browser is to report, else nothing
	}{
		{name: "connected, id and transport", js: `
			const socket = io('/' + room)
			if (socket.connected || socket.id || socket.transport) return 'connected before it could be'
			await heard(socket, 'connect')
			if (!socket.connected || socket.transport !== 'stream') return socket.connected + ' ' + socket.transport
			if (!/^[A-Za-z0-9_-]{8,64}$/.test(socket.id)) return socket.id
			return 'ok'`},
		{name: "the first event is the count, after connect", js: `
			const socket = io('/' + room), seen = []
			socket.on('connect', () => seen.push('connect'))
			socket.on('user count', (n) => seen.push(n))
			await heard(socket, 'user count')
			return seen.join() === 'connect,1' ? 'ok' : seen.join()`},
		{name: "autoConnect, connect and disconnect", js: `
			const socket = io('/' + room, { autoConnect: false })
			if (await users(room) !== 0) return 'connected by itself'
			await heard(socket.connect(), 'connect')
			const id = socket.id
			let reason
			socket.on('disconnect', (r) => { reason = r })
			socket.disconnect()
			if (socket.connected || socket.id || reason !== 'io client disconnect') return 'not disconnected: ' + reason
			const began = performance.now()
			while (await users(room) !== 0) {}
			if (performance.now() - began > 500) return 'counted for another ' + (performance.now() - began) + ' ms'
			socket.connect()
			await heard(socket, 'connect')
			return socket.id !== id ? 'ok' : 'the same id as before it left'`},
		{name: "options alone", js: `
			const socket = io({ room })
			await heard(socket, 'connect')
			return await users(room) === 1 ? 'ok' : 'another room'`},
		{name: "off is by identity, and on gives its undoing", emit: []string{"news"}, js: `
			const socket = io('/' + room), seen = []
			const listener = (name) => () => seen.push(name)
			const a = listener('a'), b = listener('b'), d = listener('d')
			socket.on('news', a); socket.on('news', b); socket.on('news', d)
			const undo = socket.on('news', listener('c'))
			socket.off('news', a); socket.off('news', listener('b')); undo()
			await heard(socket, 'connect')
			console.log('ready')
			await heard(socket, 'news')
			return seen.join() === 'b,d' ? 'ok' : seen.join()`},
		{name: "off of a name, and of all", emit: []string{"news", "other", "end"}, js: `
			const socket = io('/' + room), seen = []
			socket.on('news', () => seen.push('news'))
			socket.on('other', () => seen.push('other'))
			socket.onAny(() => seen.push('any'))
			socket.off('news')
			await heard(socket, 'connect')
			await until(() => seen.length)
			socket.off()
			seen.length = 0
			socket.on('other', () => seen.push('new'))
			console.log('ready')
			await heard(socket, 'end')
			return seen.join() === 'new' ? 'ok' : seen.join()`},
		{name: "once is once, and can be undone", emit: []string{"news", "news", "end"}, js: `
			const socket = io('/' + room), seen = []
			const undone = () => seen.push('undone')
			socket.once('news', () => seen.push('once'))
			socket.once('news', undone)
			socket.off('news', undone)
			await heard(socket, 'connect')
			console.log('ready')
			await heard(socket, 'end')
			return seen.join() === 'once' ? 'ok' : seen.join()`},
		{name: "listeners that remove and add listeners", emit: []string{"news", "news", "end"}, js: `
			const socket = io('/' + room), seen = []
			const last = () => seen.push('last')
			const first = () => { seen.push('first'); socket.off('news', first); socket.on('news', () => seen.push('added')) }
			socket.on('news', first); socket.on('news', last)
			await heard(socket, 'connect')
			console.log('ready')
			await heard(socket, 'end')
			return seen.join() === 'first,last,last,added' ? 'ok' : seen.join()`},
		{name: "events called like what every object has", emit: []string{"constructor", "__proto__", "toString", "end"}, js: `
			const socket = io('/' + room), seen = []
			for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty']) socket.on(name, (data) => seen.push(data))
			await heard(socket, 'connect')
			console.log('ready')
			await heard(socket, 'end')
			return seen.join() === 'constructor,__proto__,toString' ? 'ok' : seen.join()`},
		{name: "onAny hears what nobody listens for", emit: []string{"news", "a name with spaces, ü and 人", "end"}, js: `
			const socket = io('/' + room), seen = []
			const undo = socket.onAny((name, data) => seen.push(name === data ? name : name + '=' + data))
			await heard(socket, 'connect')
			console.log('ready')
			await heard(socket, 'end')
			undo()
			const want = 'user count=1|news|a name with spaces, ü and 人'
			return seen.join('|').startsWith(want) ? 'ok' : seen.join('|')`},
		{name: "a listener that throws", emit: []string{"news", "end"}, but: "thrown by a listener", js: `
			const socket = io('/' + room), seen = []
			const reported = new Promise((resolve) => addEventListener('error', (event) => resolve(event.message)))
			socket.on('news', () => { throw new Error('thrown by a listener') })
			socket.on('news', () => seen.push('news'))
			await heard(socket, 'connect')
			console.log('ready')
			await heard(socket, 'end')
			if (seen.join() !== 'news') return 'it kept the event from the others'
			return /thrown by a listener/.test(await reported) ? 'ok' : 'not reported'`},
		{name: "emit says how to emit", js: `
			const socket = io('/' + room)
			try { socket.emit('news', 1) } catch (error) {
				const text = error.message
				return error instanceof Error && text.includes('curl ' + location.origin + '/emit') && text.includes(room) ? 'ok' : text
			}
			return 'it did not throw'`},
		{name: "the sockets of a page are one user", js: `
			const one = io('/' + room), two = io('/' + room)
			await Promise.all([heard(one, 'user count'), heard(two, 'user count')])
			const three = io('/' + room)
			const late = await heard(three, 'user count')
			if (late !== 1 || !three.connected || three.id !== one.id) return 'the late one heard ' + late
			one.disconnect(); two.disconnect()
			if (await users(room) !== 1) return 'gone with the first'
			three.disconnect()
			await until(() => !three.connected)
			while (await users(room) !== 0) {}
			return 'ok'`},
		{name: "a socket that leaves and comes back at once", js: `
			const socket = io('/' + room), seen = []
			socket.on('user count', (n) => seen.push(n))
			await heard(socket, 'user count')
			const again = heard(socket, 'connect'), count = heard(socket, 'user count')
			socket.disconnect().connect()
			await again
			await count
			return seen.every((n) => n === 1 || n === 2) && await users(room) === 1 ? 'ok' : seen.join()`},
		{name: "a room that cannot be", but: "400 (Bad Request)", js: `
			const socket = io({ room: 'x'.repeat(129) })
			const error = await heard(socket, 'connect_error')
			socket.disconnect()
			return error instanceof Error && error.message.includes('129 bytes') ? 'ok' : String(error)`},
		{name: "a room with a name of any kind", js: `
			const name = room + ' ü/&?#%25+人'
			const socket = io('/' + encodeURIComponent(name))
			await heard(socket, 'connect')
			return await users(encodeURIComponent(name)) === 1 ? 'ok' : 'another room'`},
		{name: "user-count", js: `
			const element = document.createElement('user-count')
			element.setAttribute('room', room)
			element.textContent = '7'
			document.body.append(element)
			if (element.textContent !== '7') return 'what the server wrote is gone before there is better'
			await until(() => element.textContent === '1')
			const socket = io('/' + room)
			await heard(socket, 'connect')
			const id = socket.id
			socket.disconnect()

			document.body.appendChild(document.createElement('div')).append(element)
			await new Promise((resolve) => setTimeout(resolve))
			const again = io('/' + room)
			await heard(again, 'connect')
			if (again.id !== id) return 'moving it in the page ended its connection'
			again.disconnect()

			element.setAttribute('room', room + '-2')
			while (await users(room) !== 0 || await users(room + '-2') !== 1) {}
			element.remove()
			while (await users(room + '-2') !== 0) {}
			return 'ok'`},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			room := fmt.Sprintf("room-%d", i)
			tb := chrome.open(server.URL + "/test/client.html")
			tb.t = t
			eval[bool](tb, js)
			eval[bool](tb, `((room) => { window.result = (async () => {`+test.js+`})(); return true })('`+room+`')`)
			if len(test.emit) > 0 {
				tb.expect(slow, "ready")
				for _, name := range test.emit {
					emit(t, server, room, name, name)
				}
			}
			if got := eval[string](tb, `window.result.catch(String)`); got != "ok" {
				t.Error(got)
			}
			if test.but != "" {
				tb.faultless(test.but)
			} else {
				tb.faultless()
			}
			tb.close()
		})
	}
}

// Data that is emitted as JSON arrives as the same value, whatever it contains.
func TestData(t *testing.T) {
	server := rig.Start(t, "-token", token)
	tb := newChrome(t).open(server.URL + "/test/client.html")
	eval[bool](tb, `window.socket = io(); socket.onAny((name, data) => console.log(name + ' ' + JSON.stringify(data))); true`)
	tb.expect(slow, "user count 1")
	for _, data := range []string{`null`, `0`, `{"a":[1,{"b":null}]}`, `"two\nlines\r\u2028\u2029"`, `"ü人😀"`, `""`, `[` + strings.Repeat(`"人",`, 3000) + `1]`} {
		emit(t, server, "lobby", "news", data)
		want := eval[string](tb, `'news ' + JSON.stringify(`+data+`)`)
		tb.expect(slow, want)
	}
	tb.faultless()
}

func TestModule(t *testing.T) {
	server := rig.Start(t)
	tb := newChrome(t).open(server.URL + "/test/module.html")
	tb.expect(slow, "1")
	rig.Wait(t, slow, "<user-count> to show 1", func() bool {
		return eval[string](tb, `document.querySelector('user-count').textContent`) == "1"
	})
	if got := server.Count("lobby"); got != 1 {
		t.Errorf("one tab is %d users, want 1", got)
	}
	tb.faultless()
}

// A worker has no page, no session and no elements.
func TestWorker(t *testing.T) {
	server := rig.Start(t)
	tb := newChrome(t).open(newBox(t, server, passes).URL + "/test/client.html")
	eval[bool](tb, `
		window.worker = new Worker('/page/worker.mjs', { type: 'module' })
		worker.onmessage = ({ data }) => console.log(data)
		true`)
	tb.expect(slow, "1")
	eval[bool](tb, `worker.terminate(); true`)
	rig.Wait(t, slow, "nobody", func() bool { return server.Count("lobby") == 0 })
	tb.faultless()
}

// A server that renders pages imports the client too, and there is no window.
func TestModuleWithoutWindow(t *testing.T) {
	node := rig.Need(t, "node", "apt-get install nodejs")
	module := filepath.Join(rig.Root(), "assets", "io.mjs")
	out, err := exec.Command(node, "--input-type=module", "-e", `import { io } from '`+module+`'; console.log(typeof io)`).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "function" {
		t.Errorf("import %s in node: %v\n%s", module, err, out)
	}
}

// With io('https://other.host/room') the count comes from the other host, and the goodbye goes there.
func TestOtherOrigin(t *testing.T) {
	site := rig.Start(t)
	server := rig.Start(t, "-origins", site.URL)
	tb := newChrome(t).open(site.URL + "/healthz") // a page that may connect to anywhere
	eval[bool](tb, `(async () => {
		const { io } = await import('/assets/io.mjs')
		window.socket = io('`+server.URL+`/room')
		socket.on('user count', (n) => console.log(n))
		return true
	})()`)
	tb.expect(slow, "1")
	if here, there := site.Count("lobby"), server.Count("room"); here != 0 || there != 1 {
		t.Errorf("counted %d here and %d there, want 0 and 1", here, there)
	}
	eval[bool](tb, `socket.disconnect(); true`)
	rig.Wait(t, soon, "nobody there", func() bool { return server.Count("room") == 0 })

	// So does an element.
	eval[bool](tb, `
		window.element = document.createElement('user-count')
		element.setAttribute('server', '`+server.URL+`')
		element.setAttribute('room', 'room')
		document.body.append(element)
		true`)
	rig.Wait(t, slow, "<user-count server> to show 1", func() bool { return eval[string](tb, `element.textContent`) == "1" })
	if here, there := site.Count("room"), server.Count("room"); here != 0 || there != 1 {
		t.Errorf("counted %d here and %d there, want 0 and 1", here, there)
	}
	eval[bool](tb, `element.removeAttribute('server'); true`)
	rig.Wait(t, slow, "one here and nobody there", func() bool { return site.Count("room") == 1 && server.Count("room") == 0 })
	tb.faultless("/favicon.ico")
}

// A page that loads the script of another host and does not name that host is told once how to name it.
func TestScriptOfOtherHost(t *testing.T) {
	site := rig.Start(t)
	server := rig.Start(t, "-origins", site.URL)
	chrome := newChrome(t)
	for _, c := range []struct {
		script, calls string
		warnings      []string
	}{
		{server.URL, `io('/room'); io('/room'); io({ room: 'other' })`, []string{`console.warning: Name the server: io("` + server.URL + `/", { room })`}},
		{server.URL, `io('` + server.URL + `/room')`, nil},
		{server.URL, `io('//` + server.Addr + `/room')`, nil},
		{site.URL, `io('/room')`, nil},
	} {
		tb := chrome.open(site.URL + "/healthz") // a page that may load from anywhere
		eval[bool](tb, `new Promise((loaded, failed) => {
			const script = document.createElement('script')
			script.src = '`+c.script+`/assets/io.js'
			script.onload = () => loaded(true)
			script.onerror = failed
			document.head.append(script)
		})`)
		eval[bool](tb, c.calls+`; io('/room').on('user count', (n) => console.log(n)); true`)
		tb.expect(slow, "1")
		if got := tb.faults("/favicon.ico"); !slices.Equal(got, c.warnings) {
			t.Errorf("script of %s, %s: the console has %q, want %q", c.script, c.calls, got, c.warnings)
		}
		tb.close()
		rig.Wait(t, slow, "nobody", func() bool { return site.Count("room")+server.Count("room") == 0 })
	}
}

// A page of an origin that the server does not list gets the server's sentence, and not only "Failed to fetch".
func TestUnlistedOrigin(t *testing.T) {
	site, server := rig.Start(t), rig.Start(t)
	tb := newChrome(t).open(site.URL + "/healthz") // a page that may connect to anywhere
	eval[bool](tb, `(async () => {
		const { io } = await import('/assets/io.mjs')
		window.socket = io('`+server.URL+`/room')
		window.heard = ''
		socket.on('connect_error', (error) => (window.heard = error.message))
		return true
	})()`)
	rig.Wait(t, slow, "the sentence of the server", func() bool {
		heard := eval[string](tb, `window.heard`)
		return strings.Contains(heard, site.URL) && strings.Contains(heard, "-origins")
	})
	if got := server.Count("room"); got != 0 {
		t.Errorf("counted %d, want 0", got)
	}
}
