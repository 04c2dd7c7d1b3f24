// What the rooms of a page share about one server: whether streams get through to it, and the connections that may wait for it.
//
// Over HTTP/1.1 a browser has six connections for a server. So no more than three rooms of a page have a
// seat: a stream, or a poll that waits. The others take turns, one at a time, by polls that are answered at once.

import { memory } from './tab.mjs'
import { now, within } from './time.mjs'

/** page is how this page came, as the browser tells. */
export const newServer = (url, page) => {
  const SEATS = 3
  const FIRST_TRIAL = 60000 // of a stream, after polls began to work; then twice as long each time,
  const LAST_TRIAL = 3600000 // and this at most
  const EARLY_TRIAL = 3000 // in a page that knows from the one before that only polls work

  const rooms = new Set() // the transports that want a seat
  let patience = FIRST_TRIAL

  const share = () => {
    let free = /^h[23]/.test(page?.nextHopProtocol) ? Infinity : SEATS
    rooms.forEach((transport) => transport._sit(+(free-- > 0)))
  }

  const server = {
    _url: url,
    /** How long the first event of a stream may take, as it seems by what was measured on this page. */
    _first: within(1000 + 4 * page?.responseStart, 1000, 3000, 3000),
    _polls: memory(url) > 0, // what worked last
    _due: now() + EARLY_TRIAL, // when a stream is to be tried again
    _line: Promise.resolve(), // of those who have no seat

    /** Polls work, or a stream. */
    _prefer(polls) {
      memory(url, polls ? 1 : '')
      if (!(server._polls = polls)) patience = FIRST_TRIAL
      server._due = now() + patience
    },
    /** A stream is tried. */
    _try() {
      patience = Math.min(2 * patience, LAST_TRIAL)
      server._due = now() + patience
    },

    /** A room wants a seat from now on, or no more. */
    _enter: (transport) => rooms.add(transport) && share(),
    _leave: (transport) => rooms.delete(transport) && share(),

    /** Something has come from the server: timers of hidden pages hardly run. */
    _beat() {
      rooms.forEach((transport) => transport._beat())
    },
  }

  return server
}
