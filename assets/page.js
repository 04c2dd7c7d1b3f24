/* global io */
// What the page does beyond showing the number, which <user-count> does: title, line, whether it is live, copying.

;(() => {
  const STEP = 5000 // ms, and the other three: as in internal/web/trend.go and chart.go, where the first line is drawn
  const STEPS = 120
  const HEIGHT = 100
  const MARGIN = 6
  const LEAST = 4
  const QUIET = 10000 // ms between two announcements to those who listen to the page

  const byId = (id) => document.getElementById(id)
  const users = byId('users')
  const chart = byId('chart')
  const way = byId('way')
  const said = byId('said')

  const socket = io({ room: users.getAttribute('room') })

  // --- the number ---

  let count

  socket.on('user count', (data) => {
    if (count !== undefined && data !== count && matchMedia('(prefers-reduced-motion: no-preference)').matches) {
      users.animate([{ transform: `translateY(${data > count ? '' : '-'}4%)`, opacity: 0.6 }, {}], { duration: 160, easing: 'ease-out' })
    }
    count = data
    users.dataset.digits = String(data).length
    byId('noun').textContent = data === 1 ? 'user' : 'users'
    document.title = `(${data}) headcount`
    note(data)
    say()
  })

  // --- for those who listen: never more often than every 10 s, and always the last thing in the end ---

  let saidAt = -QUIET
  let saying

  const say = () => {
    if (saying) return
    saying = setTimeout(() => {
      saying = undefined
      saidAt = performance.now()
      const text = (socket.connected ? '' : 'Not live. ') + (count === undefined ? '' : `${count} ${count === 1 ? 'user' : 'users'} now.`)
      if (said.textContent !== text) said.textContent = text
    }, Math.max(0, saidAt + QUIET - performance.now()))
  }

  // --- whether this page is live, and how ---

  const ways = { stream: 'Live over a stream', poll: 'Live by polling', shared: 'Live over the stream of another tab' }

  const tell = (live, text) => {
    way.dataset.live = live
    way.textContent = text
    say()
  }

  tell('no', 'Connecting …')
  socket.on('disconnect', () => tell('no', 'Not live, connecting again …'))
  socket.on('connect_error', (error) => tell('no', `Not live, trying again … (${error.message})`))
  socket.on('transport', (transport) => tell('yes', ways[transport]))
  socket.on('connect', () => {
    if (stale) refresh()
  })

  // --- trying the other way: io.js remembers in this place when to try a stream again, and that may be never ---

  const place = 'headcount ' + location.origin
  const pretend = byId('pretend')
  try {
    const pretends = sessionStorage[place] === 'Infinity'
    pretend.setAttribute('aria-pressed', pretends)
    pretend.addEventListener('click', () => {
      sessionStorage[place] = pretends ? '' : 'Infinity'
      location.reload()
    })
    pretend.hidden = false
  } catch {} // no storage, nothing to choose

  // --- what is emitted ---

  const HEARD = 5 // events shown
  const heard = byId('heard')

  socket.onAny((name, data) => {
    if (name === 'user count') return
    const item = document.createElement('li')
    item.append(Object.assign(document.createElement('b'), { textContent: name }), ' ' + JSON.stringify(data).slice(0, 500))
    heard.prepend(item)
    if (heard.children.length > HEARD) heard.lastChild.remove()
    heard.hidden = false
  })

  // --- the line ---

  let points // as in trend.go: [peak, last] of each step, the last one being now
  let began // when the last step began, of performance.now()
  let stale = false

  const load = (svg, at) => {
    points = JSON.parse(svg.dataset.points)
    began = at - svg.dataset.into
  }

  const advance = () => {
    const last = points.length ? points[points.length - 1][1] : 0
    for (let n = Math.min(STEPS, Math.floor((performance.now() - began) / STEP)); n > 0; n--) points.push([last, last])
    began += STEP * Math.floor((performance.now() - began) / STEP)
    points = points.slice(-STEPS)
  }

  const note = (data) => {
    advance()
    if (!points.length) points.push([0, 0])
    const now = points[points.length - 1]
    now[0] = Math.max(now[0], data)
    now[1] = data
    draw()
  }

  const draw = () => {
    if (!points.length) return
    const start = STEPS - points.length
    const peak = points.reduce((most, [p]) => Math.max(most, p), 0)
    const index = points.findLastIndex(([p]) => p === peak)
    const top = Math.max(peak, LEAST)
    const y = (n) => HEIGHT - MARGIN - Math.floor((n * (HEIGHT - 2 * MARGIN) + Math.floor(top / 2)) / top)
    let at = y(points[0][1])
    let line = `M${start} ${at}`
    points.forEach(([p, last], i) => {
      if (y(p) === at && y(last) === at) return
      line += `H${start + i}V${y(p)}V${y(last)}`
      at = y(last)
    })
    line += `H${STEPS}`
    chart.querySelector('.line').setAttribute('d', line)
    chart.querySelector('.area').setAttribute('d', `${line}V${HEIGHT}H${start}Z`)
    chart.querySelector('.peak').setAttribute('d', `M${start + index} ${y(peak)}h0`)
    byId('peak').textContent = peak
    const minutes = Math.floor(((points.length - 1 - index) * STEP) / 60000)
    byId('age').textContent = minutes ? `${minutes} min ago` : 'just now'
  }

  // What happened while this page was not live, the server knows: it is in the page that it would send now.
  const refresh = async () => {
    stale = false
    const response = await fetch(location.href).catch(() => {})
    if (!response?.ok) return
    const at = performance.now()
    load(new DOMParser().parseFromString(await response.text(), 'text/html').getElementById('chart'), at)
    if (count === undefined) draw()
    else note(count)
  }

  socket.on('disconnect', () => {
    stale = true
  })
  load(chart, performance.getEntriesByType('navigation')[0].responseStart)
  const step = () => {
    advance()
    draw()
    setTimeout(step, began + STEP - performance.now())
  }
  step()

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
})()
