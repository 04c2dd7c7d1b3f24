/* global io, chart */
// The page: the number, whether it is live, the events of the room, and the tools below.

;(() => {
  const ANNOUNCE_EVERY = 10000 // ms between two announcements to screen readers
  const CONNECT_TIME = 5000 // ms from the start of the page until it says that it is not live
  const SHOWN = 20 // events in the list

  const byId = (id) => document.getElementById(id)
  const users = byId('users')
  const way = byId('way')
  const said = byId('said')
  const room = users.dataset.room

  const grouped = (n) => n.toLocaleString('en-US')
  const noun = (n) => (n === 1 ? 'user' : 'users')
  const span = (ms) => (ms < 60000 ? `${Math.floor(ms / 1000)} s` : `${Math.floor(ms / 60000)} min`)

  // --- simulating a blocking proxy, until the tab is closed ---

  const place = 'simulates'
  let simulates = false
  try {
    simulates = sessionStorage[place] === 'yes'
  } catch {} // no storage, so nothing to simulate

  // A link to a private room may carry the token.
  const token = new URLSearchParams(location.search).get('token') ?? undefined
  const socket = io({ room, token, transports: simulates ? ['poll'] : undefined })

  // --- the number ---

  let count = Number(users.textContent.replaceAll(',', '')) // as the server has written it, at first
  let counted = performance.getEntriesByType('navigation')[0].responseStart // when it was last heard, as performance.now() counts
  let live = false
  let wasLive = false

  socket.on('user count', (data) => {
    if (live && data !== count && matchMedia('(prefers-reduced-motion: no-preference)').matches) {
      users.animate([{ transform: `translateY(${data > count ? '' : '-'}4%)`, opacity: 0.6 }, {}], { duration: 160, easing: 'ease-out' })
    }
    count = data
    users.textContent = grouped(data)
    users.dataset.digits = String(data).length
    byId('noun').textContent = noun(data)
    showTitle()
    chart.note(data)
    say()
  })

  const showTitle = () => {
    document.title = `${live ? `(${grouped(count)})` : 'Not live ·'} ${room} · headcount`
  }

  // --- screen readers: at most every 10 s, and always the last state in the end ---

  let saidAt = -ANNOUNCE_EVERY
  let saying

  const say = () => {
    if (saying) return
    const due = (wasLive ? saidAt + ANNOUNCE_EVERY : CONNECT_TIME) - performance.now()
    saying = setTimeout(() => {
      saying = undefined
      saidAt = performance.now()
      const text = `${live ? '' : 'Not live. '}${grouped(count)} ${noun(count)} ${live ? 'now' : 'when last heard'}.`
      if (said.textContent !== text) said.textContent = text
    }, Math.max(0, due))
  }

  // --- whether the page is live ---

  const transports = { stream: 'Live over a stream', poll: 'Live by polling', shared: 'Live over another tab’s connection' }

  let reason = '' // the server's sentence, if it refused

  const show = (text) => {
    if (way.textContent !== text) way.textContent = text
  }

  const showLive = (transport) => {
    live = wasLive = true
    reason = ''
    document.body.dataset.live = way.dataset.live = 'yes'
    byId('when').textContent = 'now'
    show(transports[transport])
    showTitle()
    say()
  }

  const showLost = () => {
    if (!wasLive && !reason && performance.now() < CONNECT_TIME) return show('Connecting …')
    document.body.dataset.live = way.dataset.live = 'no'
    byId('when').textContent = 'when last heard'
    showTitle()
    show(`${reason || 'Not live. Reconnecting …'} ${grouped(count)} ${noun(count)} when last heard, ${span(performance.now() - counted)} ago`)
  }

  showLost()
  say()
  socket.on('disconnect', () => {
    live = false
    counted = performance.now()
    showLost()
    say()
  })
  socket.on('connect_error', (error) => {
    // A sentence of the server helps people. What a browser says about a failed request does not.
    reason = error.name === 'TypeError' ? '' : `${error.message[0].toUpperCase()}${error.message.slice(1)}.`
    if (!live) showLost()
  })
  setInterval(() => live || showLost(), 1000)
  socket.on('transport', showLive)

  // --- what happened while the page was not live: the server knows it ---

  let stale = false

  const refresh = async () => {
    stale = false
    const response = await fetch(location.href).catch(() => {})
    if (!response?.ok) return
    const at = performance.now()
    chart.loadFrom(new DOMParser().parseFromString(await response.text(), 'text/html'), at, true)
    chart.note(count)
  }

  socket.on('disconnect', () => {
    stale = true
  })
  socket.on('connect', () => {
    if (stale) refresh()
  })

  // --- the events of this room ---

  const heard = byId('heard')
  const none = byId('none')
  none.textContent = 'None yet.'

  const hear = (name, data) => {
    if (name === 'user count') return
    const item = document.createElement('li')
    const time = new Date().toLocaleTimeString('en-GB')
    item.append(
      Object.assign(document.createElement('time'), { textContent: time }), ' ',
      Object.assign(document.createElement('b'), { textContent: name }), ' ' + JSON.stringify(data).slice(0, 500)
    )
    heard.prepend(item)
    if (heard.children.length > SHOWN) heard.lastChild.remove()
    heard.hidden = false
    none.hidden = true
  }

  // A browser's EventSource delivers only events whose names are known before. For every name io.js has to read the stream by
  // itself, and then the developer tools do not show its events. So the page listens for what its own command emits.
  const news = (data) => hear('news', data)
  socket.on('news', news)

  const every = byId('every')
  let stopHearing
  every.addEventListener('change', () => {
    if (every.checked) {
      socket.off('news', news)
      stopHearing = socket.onAny(hear)
    } else {
      stopHearing()
      socket.on('news', news)
    }
  })
  byId('choice').hidden = false

  if (token) {
    const more = byId('more')
    more.href = Object.assign(new URL(more.href), { search: location.search }).href
  }

  // --- the snippets name this server as the browser sees it, which may be behind a proxy and under a path ---

  const base = new URL('.', location)
  const origin = byId('curl').dataset.origin
  for (const id of ['curl', 'emit']) {
    const code = byId(id).firstChild
    code.textContent = code.textContent.replace(origin + '/', base.href)
  }
  byId('code').firstChild.textContent = byId('code').firstChild.textContent.replace('"/assets/', `"${base.pathname}assets/`)
  const advised = document.querySelector('#examined .rest code')
  advised.textContent = advised.textContent.replace(origin, base.href)

  // --- copying ---

  const copy = async (text) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text)
    // Plain http has no clipboard but this one.
    const area = document.body.appendChild(document.createElement('textarea'))
    area.value = text
    area.className = 'unseen'
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    if (!done) throw new Error('not copied')
  }

  for (const button of document.querySelectorAll('.copy')) {
    button.hidden = false
    button.addEventListener('click', async () => {
      const ok = await copy(byId(button.dataset.copy).textContent).then(() => true, () => false)
      button.textContent = ok ? 'Copied' : 'Not copied'
      button.focus()
      setTimeout(() => {
        button.textContent = 'Copy'
      }, 2000)
    })
  }

  // --- the tools: checking the connection, and simulating a proxy that holds streams back ---

  const examine = byId('examine')
  const examined = byId('examined')
  const offer = examine.textContent
  let examination // the AbortController of the check that runs

  const stopExamination = () => examination?.abort()

  examine.addEventListener('click', async () => {
    if (examination) return stopExamination()
    const mine = (examination = new AbortController())
    examine.textContent = 'Stop checking'
    examined.hidden = false
    examined.scrollIntoView({ block: 'nearest' })
    try {
      const doctor = await import(new URL(examine.dataset.script, document.baseURI).href)
      await doctor.examine(examined, mine.signal)
    } catch (error) {
      if (!mine.signal.aborted) examined.querySelector('.diagnosis').textContent = 'This server did not deliver the check. Try again in a moment.'
      console.warn(error)
    } finally {
      if (mine.signal.aborted) examined.hidden = true
      mine.abort() // whatever is still running
      examination = undefined
      examine.textContent = offer
    }
  })
  addEventListener('pagehide', stopExamination)

  const pretend = byId('pretend')
  pretend.setAttribute('aria-pressed', simulates)
  document.body.dataset.simulates = simulates
  if (simulates) {
    pretend.textContent = 'Stop simulating'
    byId('pretending').textContent = 'This page simulates a proxy that holds streams back, so it polls. Each event still arrives once, a little later.'
  }
  pretend.addEventListener('click', () => {
    try {
      sessionStorage[place] = simulates ? '' : 'yes'
    } catch {} // no storage
    location.reload()
  })
  byId('connection').hidden = false
})()
