/* global io, chart */
// What the page does beyond showing the number, which <user-count> does: title, line, whether it is live, copying.

;(() => {
  const QUIET = 10000 // ms between two announcements to those who listen to the page

  const byId = (id) => document.getElementById(id)
  const users = byId('users')
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
    chart.note(data)
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

  // --- the doctor: it comes when it is asked for ---

  const examine = byId('examine')
  const examined = byId('examined')
  const offer = examine.textContent
  let examination // the AbortController of the one under way

  const stopExamination = () => examination?.abort()

  examine.addEventListener('click', async () => {
    if (examination) return stopExamination()
    const mine = (examination = new AbortController())
    examine.textContent = 'Stop examining'
    examined.hidden = false
    examined.scrollIntoView()
    try {
      const doctor = await import(examine.dataset.script)
      await doctor.examine(examined, mine.signal)
    } catch (error) {
      if (!mine.signal.aborted) examined.querySelector('.diagnosis').textContent = 'The doctor could not be loaded from this server; try again in a moment.'
      console.warn(error)
    } finally {
      if (mine.signal.aborted) examined.hidden = true
      mine.abort() // whatever is still under way
      examination = undefined
      examine.textContent = offer
    }
  })
  addEventListener('pagehide', stopExamination)
  examine.hidden = false

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

  // --- the line: chart.js draws it ---

  let stale = false

  // What happened while this page was not live, the server knows: it is in the page that it would send now.
  const refresh = async () => {
    stale = false
    const response = await fetch(location.href).catch(() => {})
    if (!response?.ok) return
    const at = performance.now()
    chart.loadFrom(new DOMParser().parseFromString(await response.text(), 'text/html'), at)
    if (count !== undefined) chart.note(count)
  }

  socket.on('disconnect', () => {
    stale = true
  })

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
