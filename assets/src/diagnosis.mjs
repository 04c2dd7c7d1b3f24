// What the page's doctor says about what it found: in the order and the words of client/doctor/diagnosis.go. Tests hold the
// two together. What a browser does not tell its pages, such as why a connection failed, is said in fewer words.

import { mannerOf, NO_EVENT, reasonOf } from './probe.mjs'

const reach = 'Is the address right, and is the server running? Try: curl -v %s/healthz'
const held =
  'Something keeps each answer until it is complete. If it is a proxy of yours: nginx needs "proxy_buffering off;" for /events if it ignores X-Accel-Buffering or stands behind another nginx; lighttpd needs server.stream-response-body = 2; Varnish needs beresp.do_stream = true; mod_security of Apache must not read responses of /events. If it is a virus scanner, or not yours: pages find out and poll by themselves; an EventSource can use /events?poll=1.'
const behind =
  'Something passes each event on only when the next one comes. If it is haproxy: switch compression off for text/event-stream. If it is a virus scanner: the server sends pages a comment after each event, which pushes it out; curl stays one event behind.'
const late =
  'Something waits before it passes an event on. If it is haproxy: "option http-no-delay". If it is nginx: "tcp_nodelay on;".'
const unpack =
  'Something compresses the stream, which can hold events back. Exclude text/event-stream from gzip_types of nginx, from "compression type" of haproxy, from encode of Caddy, from mod_deflate of Apache, from compression() of Node.'
const refused =
  "Something on the way answers in the server's place. If it is a filter: allow GET /events, and answers of the type text/event-stream."
const rate =
  'Something on the way rate-limits requests. Allow more for /events, /alive and /leave: a polling client asks again after each event, and every 20 s.'
const otherType =
  'Something on the way changes the type of the answers of /events, so no client accepts them. Have it leave the Content-Type text/event-stream as it is.'
const plain =
  'Something on the way refuses answers of the type text/event-stream. Pages and client watch get their polls as text/plain and work. Allow the type to have streams, which cost less and are faster.'
const noPost =
  'Allow POST /alive and /leave. Where the server cannot see whether a client is still there, pages and client watch answer its pings with /alive, and poll if they cannot; EventSource and curl are not asked. Without /leave a closed page is counted a little longer.'
const changed =
  'Something rewrites the text of streams. Exclude text/event-stream from whatever filters, scans or translates pages.'
const type =
  'Some clients accept text/event-stream only as it is. Make sure nothing on the way adds a charset or changes the type.'
const transform =
  'Leave the header Cache-Control as the server sends it: no-transform keeps boxes on the way from compressing.'
const elsewhere = "/events and /doctor/ are not treated alike. Compare the proxy's rules for the two."
const cursor =
  'Let the header Last-Event-ID through. Without it EventSource, curl and client watch miss what happens while they reconnect. Pages with io.js use ?lastEventId= and miss nothing.'
const noPoll =
  'If streams work, polling is not needed. If not: answers of /events?poll=1 take up to 20 s and must not be cached, queued behind each other or cut.'
const age =
  "Clients reconnect by themselves, miss nothing and stay counted. To have longer streams, raise the proxy's response timeout (Envoy: route timeout; Varnish: send_timeout; Traffic Server: active timeout; Google: backend service timeout)."
const givenUp = 'Answers of /events?poll=1 take up to 20 s. The proxy must wait longer than that.'
const quieter =
  "Start the server with -heartbeat %v, or raise the proxy's timeout for /events (nginx: proxy_read_timeout; haproxy: timeout server)."
const unseen =
  "Something keeps the server's end of a stream open when its client has gone. Clients that answer pings (pages with io.js, client watch) leave the count within 60 s all the same. The others are counted until their stream ends: start the server with -max-age 10m."

const NO_PROBES = "the server does not answer the doctor's probes"

/** A time as people say it. */
export const span = (time) => {
  if (time < 10) return time.toFixed(1) + ' ms'
  if (time < 1000) return Math.floor(time) + ' ms'
  return (time / 1000).toFixed(time < 10000 ? 1 : 0) + ' s'
}

/** The server ends streams because no answer to its pings gets there. */
const unanswered = ({ session, post }) => session.asked && post

/** What helps against somebody who answers in the server's place, or other advice. */
const onRefusal = ({ status, own }, other) => {
  if (status === undefined || own) return other
  return { 0: otherType, 429: rate }[status] ?? refused
}

/** Who answers, and how. */
export const ofPath = ({ path }) => {
  if (path.error) return [['reachable', 'FAILED', path.error, reach.replace('%s', path.url)]]
  let text = 'it answers in ' + span(path.roundTrip)
  if (path.noProbes)
    text += `; but it does not answer the doctor's probes (${path.noProbes}), so some things stay unknown`
  const here = { 'http/1.0': 'HTTP/1.0', 'http/1.1': 'HTTP/1.1', h2: 'HTTP/2', h3: 'HTTP/3' }[path.proto]
  const far = path.server?.proto?.replace('HTTP/2.0', 'HTTP/2')
  let version = here ?? 'this browser does not say'
  if (far) version += far === here ? ' all the way' : ` here, ${far} at the server`
  if (path.server?.proxied) version += ', through a proxy that says so'
  return [
    ['reachable', 'OK', text],
    ['HTTP version', here ? 'OK' : 'UNKNOWN', version],
  ]
}

const ofSocket = ({ path, socket }) => {
  if (path.noProbes) return ['UNKNOWN', NO_PROBES]
  return socket ? ['BLOCKED', socket + ' (not needed)'] : ['OK', 'they get through (not needed)']
}

const ofLive = ({ path, session, probe }) => {
  const news = !session.error && "a room's events arrive within " + span(session.news)
  if (!probe?.complete) return news ? ['OK', news] : ['FAILED', reasonOf(session.error), onRefusal(session.error)]
  const { how, median, most } = mannerOf(probe, path.roundTrip)
  if (how === 'held') {
    if (!news) return ['HELD', 'no event arrived before the end of its stream']
    return session.news > 1000
      ? ['LATE', "a room's events arrive only after " + span(session.news), late]
      : ['OK', news + ', but probes are held back', elsewhere]
  }
  if (how === 'behind') return ['LATE', 'each event arrives only with the next one', behind]
  if (how === 'late') {
    if (session.error?.message === NO_EVENT) return ['LATE', 'each event arrives only when others follow it', behind]
    return ['LATE', `events are late by ${span(median)}, at most by ${span(most)}`, late]
  }
  if (!news) {
    const help = onRefusal(session.error) === rate ? rate : elsewhere
    return ['FAILED', "probes are live, but a room's stream is not: " + reasonOf(session.error), help]
  }
  return ['OK', `probes arrive within ${span(most)}, a room's events within ${span(session.news)}`]
}

const ofPieces = ({ path, session, probe }) => {
  if (!probe?.complete)
    return session.error
      ? ['UNKNOWN', 'no stream came to its end']
      : ['OK', "yes: a room's stream began after " + span(session.began)]
  if (mannerOf(probe, path.roundTrip).how !== 'held')
    return ['OK', 'yes: the first event arrived after ' + span(probe.arrivals[0].at)]
  return ['HELD', 'no: everything arrived at the end, after ' + span(probe.took), held]
}

const noStream = ({ path, probe }) => (path.noProbes ? NO_PROBES : 'no probe came to its end: ' + reasonOf(probe.error))

const ofUnchanged = (facts) => {
  const { probe } = facts
  if (!probe?.headers) return ['UNKNOWN', noStream(facts)]
  const header = (name) => probe.headers.get(name) ?? ''
  // A browser unpacks what it gets, and says that it did.
  const packed = header('content-encoding')
  if (packed && packed !== 'identity') return ['CHANGED', `no: compressed with ${packed} on the way`, unpack]
  if (probe.error?.status) return ['UNKNOWN', noStream(facts)] // an answer of somebody else
  const kind = header('content-type')
  if (!/^text\/event-stream *(;|$)/i.test(kind)) return ['CHANGED', `no: its type arrives as "${kind}"`, otherType]
  if (kind.includes(';')) return ['CHANGED', `no: its type arrives as "${kind}"`, type]
  if (!probe.complete) return ['UNKNOWN', noStream(facts)]
  if (probe.changed) return ['CHANGED', 'no: the bytes that arrive are not those that were sent', changed]
  const cache = header('cache-control')
  if (!/no-transform/i.test(cache))
    return ['CHANGED', `no: Cache-Control arrives as "${cache}", without no-transform`, transform]
  return [
    'OK',
    crypto.subtle
      ? 'yes: every byte arrives as it was sent'
      : 'yes: as many bytes arrive as were sent (browsers compare them on https only)',
  ]
}

const ofCursor = (facts) => {
  const { probe } = facts
  if (!probe?.arrivals.length) return ['UNKNOWN', noStream(facts)]
  return probe.cursor.startsWith('doctor-')
    ? ['OK', 'it gets through']
    : ['BLOCKED', 'something on the way removes it', cursor]
}

const ofPost = ({ post }) => (post ? ['BLOCKED', reasonOf(post), noPost] : ['OK', 'it gets through'])

const ofPolling = ({ polling: { error, typed, news } }) => {
  if (error) return ['FAILED', reasonOf(error), onRefusal(error, noPoll)]
  const text = "works: a room's events arrive within " + span(news)
  return typed ? ['OK', text + ' as text/plain, but text/event-stream is refused', plain] : ['OK', text]
}

const ofSilence = ({ path, silence, silent, beating, beat }) => {
  if (!silent) return ['UNKNOWN', NO_PROBES]
  if (silent.complete) return ['OK', `at least ${span(silence)} allowed (client doctor -silence tries more)`]
  const heartbeat = path.server.heartbeat * 1000
  const last = silent.arrivals.at(-1)?.at
  const quiet = silent.took - last
  const why = reasonOf(silent.error)
  if (silent.error.status !== undefined && silent.took < 1000) return ['UNKNOWN', why] // not by time
  if (!last) return ['CUT', `an answer is given up after ${span(silent.took)}: ${why}`, givenUp]
  if (!beating.complete && Math.abs(beating.took - silent.took) < beat)
    return ['CUT', `an answer is cut after ${span(silent.took)}, silent or not`, age]
  if (quiet < heartbeat * 1.25) {
    const seconds = Math.max(1, Math.round(quiet / 2000))
    return [
      'CUT',
      `only ${span(quiet)} allowed, and the server is silent for up to ${span(heartbeat)}`,
      quieter.replace('%v', seconds + 's'),
    ]
  }
  return ['OK', `${span(quiet)} allowed, and the server is never silent for more than ${span(heartbeat)}`]
}

const ofClosed = (facts) => {
  const { path, session, noticed, watch } = facts
  const linger = (path.server?.linger ?? 0) * 1000
  if (session.error) return ['UNKNOWN', 'there was no stream to close']
  if (unanswered(facts)) return ['UNKNOWN', 'the server itself ends streams whose clients do not answer']
  if (!noticed) return ['UNSEEN', 'still counted after ' + span(watch), unseen]
  const text = `noticed after ${span(noticed)} (the server waits ${span(linger)})`
  return noticed > linger + 3000 ? ['LATE', text, unseen] : ['OK', text]
}

const all = (facts, judges) => Object.entries(judges).map(([name, judge]) => [name, ...judge(facts)])

/** What becomes of a stream. */
export const ofStreams = (facts) =>
  all(facts, {
    WebSockets: ofSocket,
    live: ofLive,
    'arrives piece by piece': ofPieces,
    unchanged: ofUnchanged,
    'Last-Event-ID': ofCursor,
    POST: ofPost,
    polling: ofPolling,
  })

/** What only time shows. */
export const ofTime = (facts) => all(facts, { silence: ofSilence, 'closed streams': ofClosed })

/** What works on this connection. */
export const verdictOf = (facts) => {
  const { path, session, polling } = facts
  if (path.error || (session.error && polling.error)) return 'Nothing works on this connection.'
  return session.error || unanswered(facts)
    ? 'Only polling works on this connection.'
    : 'Streams work on this connection.'
}
