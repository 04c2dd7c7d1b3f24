package doctor

// Advice in whole sentences. The page uses the same sentences, in assets/src/diagnosis.mjs.
const (
	adviceReach = "Is the address right, and is the server running? Try: curl -v %s/healthz"
	adviceHeld  = "Something keeps each answer until it is complete. If it is a proxy of yours: nginx needs \"proxy_buffering off;\"" +
		" for /events if it ignores X-Accel-Buffering or stands behind another nginx; lighttpd needs" +
		" server.stream-response-body = 2; Varnish needs beresp.do_stream = true; mod_security of Apache must not read" +
		" responses of /events. If it is a virus scanner, or not yours: pages find out and poll by themselves; an EventSource can" +
		" use /events?poll=1."
	adviceBehind = "Something passes each event on only when the next one comes. If it is haproxy: switch compression off for" +
		" text/event-stream. If it is a virus scanner: the server sends pages a comment after each event, which pushes it out;" +
		" curl stays one event behind."
	adviceLate   = "Something waits before it passes an event on. If it is haproxy: \"option http-no-delay\". If it is nginx: \"tcp_nodelay on;\"."
	adviceUnpack = "Something compresses the stream, which can hold events back. Exclude text/event-stream from gzip_types of nginx," +
		" from \"compression type\" of haproxy, from encode of Caddy, from mod_deflate of Apache, from compression() of Node."
	adviceRefused = "Something on the way answers in the server's place. If it is a filter: allow GET /events, and answers of the type" +
		" text/event-stream."
	adviceRate = "Something on the way rate-limits requests. Allow more for /events, /alive and /leave: a polling client asks again" +
		" after each event, and every 20 s."
	adviceOtherType = "Something on the way changes the type of the answers of /events, so no client accepts them. Have it leave the" +
		" Content-Type text/event-stream as it is."
	advicePlain = "Something on the way refuses answers of the type text/event-stream. Pages and client watch get their polls as text/plain" +
		" and work. Allow the type to have streams, which cost less and are faster."
	advicePost = "Allow POST /alive and /leave. Where the server cannot see whether a client is still there, pages and client watch" +
		" answer its pings with /alive, and poll if they cannot; EventSource and curl are not asked. Without /leave a closed page is" +
		" counted a little longer."
	adviceChanged   = "Something rewrites the text of streams. Exclude text/event-stream from whatever filters, scans or translates pages."
	adviceType      = "Some clients accept text/event-stream only as it is. Make sure nothing on the way adds a charset or changes the type."
	adviceTransform = "Leave the header Cache-Control as the server sends it: no-transform keeps boxes on the way from compressing."
	adviceElsewhere = "/events and /doctor/ are not treated alike. Compare the proxy's rules for the two."
	adviceCursor    = "Let the header Last-Event-ID through. Without it EventSource, curl and client watch miss what happens while they reconnect." +
		" Pages with io.js use ?lastEventId= and miss nothing."
	advicePoll = "If streams work, polling is not needed. If not: answers of /events?poll=1 take up to 20 s and must not be cached," +
		" queued behind each other or cut."
	adviceAge = "Clients reconnect by themselves, miss nothing and stay counted. To have longer streams, raise the proxy's" +
		" response timeout (Envoy: route timeout; Varnish: send_timeout; Traffic Server: active timeout; Google: backend service timeout)."
	adviceGivenUp = "Answers of /events?poll=1 take up to 20 s. The proxy must wait longer than that."
	adviceSilence = "Start the server with -heartbeat %v, or raise the proxy's timeout for /events (nginx: proxy_read_timeout; haproxy: timeout server)."
	adviceClosed  = "Something keeps the server's end of a stream open when its client has gone. Clients that answer pings (pages with" +
		" io.js, client watch) leave the count within 60 s all the same. The others are counted until their stream ends: start the server" +
		" with -max-age 10m."
)
