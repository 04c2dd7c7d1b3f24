/* global chart */
// The operator's page, live: it shows each event of /stats/events in the places that templates/stats.html has made.

;(() => {
  const ROOMS = 8 // as shownRooms in internal/admin/view.go
  const LATE = 4 // seconds after which a node that was not heard of is dead to the others
  const SILENCE = 2.5 // heartbeats

  const room = document.body.dataset.room // of which the page is; undefined = all rooms
  const byId = (id) => document.getElementById(id)
  const set = (id, text) => {
    const place = byId(id)
    if (place.textContent !== text) place.textContent = text
  }

  // --- numbers in words, as in internal/page/format.go ---

  const commas = (n) => n.toLocaleString('en-US')

  const rate = (n) => (n < 10 ? n.toFixed(1) : commas(Math.floor(n)))

  const bytes = (n) => {
    let unit = 0
    for (; n >= 1024 && unit < 4; unit++) n /= 1024
    return (unit && n < 10 ? (Math.floor(n * 10) / 10).toFixed(1) : Math.floor(n)) + ' ' + ['B', 'KiB', 'MiB', 'GiB', 'TiB'][unit]
  }

  const span = (seconds) => {
    const days = Math.floor(seconds / 86400)
    const hours = Math.floor(seconds / 3600) % 24
    const minutes = Math.floor(seconds / 60) % 60
    if (days) return `${days} d ${hours} h`
    if (hours) return `${hours} h ${minutes} min`
    return minutes ? `${minutes} min` : `${Math.floor(seconds)} s`
  }

  // --- tables ---

  const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)')
  const flash = (place) => {
    if (!reducedMotion.matches) place.animate([{ backgroundColor: 'var(--flash)' }, {}], { duration: 1200, easing: 'ease-out' })
  }

  const address = (path, query) => path + '?' + new URLSearchParams(query)

  const rowOf = (key, share, link) => {
    const row = document.createElement('tr')
    row.dataset.key = key
    const head = row.appendChild(document.createElement('th'))
    head.scope = 'row'
    const name = link ? head.appendChild(Object.assign(document.createElement('a'), { href: link })) : head
    name.append(Object.assign(document.createElement('bdi'), { textContent: key, ...(link && { title: key }) }))
    if (share) {
      const svg = row.insertCell().appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'svg'))
      svg.parentNode.className = 'share'
      svg.setAttribute('class', 'bar')
      svg.setAttribute('aria-hidden', 'true')
      const bar = svg.appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'rect'))
      bar.setAttribute('height', '100%')
      bar.setAttribute('rx', '2')
    }
    row.insertCell().className = 'count'
    return row
  }

  // fill makes the table of a heading have these rows: [key, text, percent, link]. Without a percent there is no bar.
  const fill = (id, rows) => {
    const table = document.querySelector(`table[aria-labelledby=${id}]`)
    const body = table.tBodies[0]
    const old = new Map([...body.rows].map((row) => [row.dataset.key, row]))
    rows.forEach(([key, text, share, link], i) => {
      const known = old.get(key)
      old.delete(key)
      const row = known ?? rowOf(key, share !== undefined, link)
      if (body.rows[i] !== row) body.insertBefore(row, body.rows[i] ?? null)
      row.querySelector('rect')?.setAttribute('width', `${share}%`)
      const count = row.querySelector('.count')
      if (count.textContent === text) return
      count.textContent = text
      if (id === 'refused' || id === 'ended') flash(row)
    })
    for (const row of old.values()) row.remove()
    table.hidden = !rows.length
    const none = table.nextElementSibling
    if (none?.matches('.rest')) none.hidden = rows.length > 0
  }

  const percent = (part, whole) => (whole ? Math.floor((100 * part) / whole) : 0)

  const byCount = (counters) => {
    const rows = Object.entries(counters)
    const total = rows.reduce((sum, [, n]) => sum + n, 0)
    rows.sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
    return rows.map(([reason, n]) => [reason, commas(n), percent(n, total)])
  }

  // --- what the server says ---

  let last // the newest stats, and when they came
  let lastAt

  const showRoom = ({ users_here: here, joins_per_second: joins, events_per_second: events }) => {
    if (byId('here')) set('here', commas(here))
    set('joins', rate(joins))
    set('rate', rate(events))
  }

  const showNode = ({ rooms, rates, emitted, max_streams: most }) => {
    set('places', rooms === 1 ? 'in 1 room' : `in ${rooms} rooms`)
    set('most', most ? `of ${commas(most)}` : 'without limit')
    set('emitted', commas(emitted))
    set('emits', emitted === 1 ? 'event' : 'events')
    set('joins', rate(rates.joins_per_second))
    set('rate', rate(rates.events_per_second))
  }

  const show = (stats) => {
    const { rooms, by_room: byRoom, trend } = stats
    const { users, streams, history, by_transport: transports } = stats.room ?? stats
    last = stats
    lastAt = performance.now()
    set('users', commas(users))
    byId('users').dataset.digits = String(users).length
    set('noun', users === 1 ? 'user' : 'users')
    document.title = `(${commas(users)}) ${room ? `${room} · ` : ''}operations · headcount`
    const ready = stats.ready === 'ok'
    byId('ready').dataset.ready = ready ? 'yes' : 'no'
    set('ready', ready ? 'Ready for streams' : `Not ready: ${stats.ready}`)
    set('streams', commas(streams))
    set('kept', commas(history.events))
    set('size', `in ${bytes(history.bytes)}`)
    if (stats.room) showRoom(stats.room)
    else showNode(stats)
    fill('byRoom', byRoom.slice(0, ROOMS).map((r) => [r.room, commas(r.users), percent(r.users, byRoom[0].users), address('stats', { room: r.room })]))
    const more = rooms - Math.min(ROOMS, byRoom.length)
    set('more', `and ${commas(more)} more`)
    byId('more').hidden = !more
    fill('byTransport', ['epoll', 'epoll_tls', 'stream', 'poll'].map((t) => [t, commas(transports[t] ?? 0), percent(transports[t] ?? 0, streams)]))
    fill('ended', byCount(stats.ended))
    fill('refused', byCount(stats.refused))
    chart.load(trend.points ?? [], trend.into_ms, lastAt)
    tick()
  }

  // What goes by the clock: the server sends it only together with something else.
  const tick = () => {
    if (!last) return
    const since = live ? (performance.now() - lastAt) / 1000 : 0
    if (!room) set('uptime', span(last.uptime_seconds + since))
    if (!last.nodes) return
    fill('nodes', last.nodes.map((n) => [n.node, n.self ? 'this one' : `${span(n.last_seen_seconds + since)} ago`]))
    last.nodes.forEach((n, i) => {
      const row = document.querySelector('table[aria-labelledby=nodes]').tBodies[0].rows[i]
      row.dataset.late = n.last_seen_seconds + since > LATE ? 'yes' : 'no'
    })
  }
  setInterval(tick, 1000)

  // --- the stream: a new EventSource for each attempt, because some errors end one for ever, and no end of one is silence ---

  let live = false
  let source
  let attempts = 0
  let silence
  let again

  const tell = (text) => {
    document.body.dataset.live = byId('way').dataset.live = live ? 'yes' : 'no'
    set('way', text)
    set('when', live ? 'now' : 'when last heard')
    if (attempts < 2) set('said', live ? 'Live.' : 'Not live.')
  }

  const close = () => {
    source?.close()
    source = undefined
    clearTimeout(silence)
    clearTimeout(again)
  }

  const lost = () => {
    close()
    if (live) since = new Date()
    live = false
    set('ready', 'Not known while this page is not live')
    byId('ready').dataset.ready = 'unknown'
    tell(since ? `Not live since ${since.toLocaleTimeString('en-GB')}, trying again …` : 'Not live, trying again …')
    again = setTimeout(open, Math.min(10000, 500 * 2 ** attempts++) * (0.5 + Math.random() / 2))
  }

  let since
  let heartbeat = 10
  const alive = () => {
    clearTimeout(silence)
    silence = setTimeout(lost, SILENCE * heartbeat * 1000)
  }

  const open = () => {
    close()
    source = new EventSource(address('stats/events', { id: 'operator-' + Math.random().toString(36).slice(2), ...(room && { room }) }))
    source.onerror = lost
    source.addEventListener('io:hello', ({ data }) => {
      heartbeat = JSON.parse(data).heartbeat
      alive()
    })
    source.addEventListener('io:ping', alive)
    source.addEventListener('stats', ({ data }) => {
      live = true
      attempts = 0
      since = undefined
      show(JSON.parse(data))
      tell('Live')
      alive()
    })
    alive()
  }

  byId('self').textContent = new URL('stats', document.baseURI)
  set('way', 'Connecting …')
  open()
  // An open stream would keep the page out of the back/forward cache, and hold a connection for 60 s in it.
  addEventListener('pagehide', close)
  addEventListener('pageshow', ({ persisted }) => persisted && open())
})()
