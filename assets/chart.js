// The line of the last ten minutes on both pages. It continues what the server has drawn, and draws the same.

// eslint-disable-next-line no-unused-vars
const chart = (() => {
  const STEP = 5000 // ms. This and the constants below are those of trend.go and chart.go, where the first line is drawn.
  const STEPS = 120
  const WIDTH = 1200
  const HEIGHT = 100
  const MARGIN = 6
  const TOPS = [4, 6, 8, 10, 12, 16, 20, 24, 30]

  const byId = (id) => document.getElementById(id)
  const svg = byId('chart')
  const plot = byId('plot')
  const reading = byId('reading')

  let points // as in trend.go: [peak, last] of each step. The last step is now.
  let began // when the last step began, in the time of performance.now()
  let chosen // the step that the pointer or the keyboard reads, counted back from now; undefined if none

  const grouped = (n) => n.toLocaleString('en-US')
  const x = (i) => Math.floor((WIDTH * i) / points.length)

  const topOf = (peak) => {
    for (let scale = 1; ; scale *= 10) {
      const top = TOPS.find((t) => t * scale >= peak)
      if (top) return top * scale
    }
  }

  const inWords = (steps) => {
    const seconds = (steps * STEP) / 1000
    if (seconds < 60) return `${seconds} seconds`
    return seconds < 120 ? 'minute' : `${Math.floor(seconds / 60)} minutes`
  }

  const advance = () => {
    const last = points[points.length - 1][1]
    const steps = Math.floor((performance.now() - began) / STEP)
    for (let n = Math.min(STEPS, steps); n > 0; n--) points.push([last, last])
    began += STEP * steps
    points = points.slice(-STEPS)
  }

  const draw = () => {
    const peak = points.reduce((most, [p]) => Math.max(most, p), 0)
    const index = points.findLastIndex(([p]) => p === peak)
    const top = topOf(peak)
    const y = (n) => HEIGHT - MARGIN - Math.floor((n * (HEIGHT - 2 * MARGIN) + top / 2) / top)
    let at = y(points[0][0])
    let line = `M0 ${at}`
    points.forEach(([p], i) => {
      if (i === 0 || y(p) === at) return
      at = y(p)
      line += `H${x(i)}V${at}`
    })
    line += `H${WIDTH}`
    svg.querySelector('.line').setAttribute('d', line)
    svg.querySelector('.area').setAttribute('d', `${line}V${y(0)}H0Z`)
    svg.querySelector('.peak').setAttribute('d', peak ? `M${Math.floor((x(index) + x(index + 1)) / 2)} ${y(peak)}h0` : '')
    byId('top').textContent = grouped(top)
    byId('half').textContent = grouped(top / 2)
    byId('span').textContent = inWords(points.length)
    byId('peak').textContent = grouped(peak)
    const seconds = ((points.length - 1 - index) * STEP) / 1000
    byId('age').textContent = seconds ? `${seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`} ago` : 'just now'
    read()
  }

  // --- reading single values, by pointer and by keyboard ---

  const read = () => {
    if (chosen >= points.length) chosen = points.length - 1
    const i = points.length - 1 - chosen
    svg.querySelector('.cursor').setAttribute('d', chosen === undefined ? '' : `M${Math.floor((x(i) + x(i + 1)) / 2)} 0V${HEIGHT}`)
    plot.setAttribute('aria-valuemin', 1 - points.length)
    plot.setAttribute('aria-valuenow', -(chosen ?? 0))
    const [most, last] = points[i || points.length - 1]
    const users = chosen ? most : last
    const seconds = ((chosen ?? 0) * STEP) / 1000
    const time = new Date(Date.now() - 1000 * seconds).toLocaleTimeString('en-GB')
    const age = seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`
    const text = `${grouped(users)} ${users === 1 ? 'user' : 'users'} ${seconds ? `${age} ago, at ${time}` : 'now'}`
    plot.setAttribute('aria-valuetext', text)
    reading.textContent = chosen === undefined ? '' : text
  }

  const choose = (step) => {
    chosen = step === undefined ? undefined : Math.max(0, Math.min(points.length - 1, step))
    read()
  }

  plot.tabIndex = 0
  plot.setAttribute('role', 'slider')
  plot.setAttribute('aria-label', 'Users over time')
  plot.setAttribute('aria-valuemax', 0)
  plot.addEventListener('pointermove', ({ clientX }) => {
    const { left, width } = svg.getBoundingClientRect()
    choose(points.length - 1 - Math.floor(((clientX - left) / width) * points.length))
  })
  plot.addEventListener('pointerleave', () => choose(undefined))
  plot.addEventListener('focus', () => plot.matches(':focus-visible') && choose(chosen ?? 0))
  plot.addEventListener('blur', () => choose(undefined))
  plot.addEventListener('keydown', (event) => {
    const now = chosen ?? 0
    const to = {
      ArrowLeft: now + 1, ArrowDown: now + 1, ArrowRight: now - 1, ArrowUp: now - 1,
      PageUp: now - 12, PageDown: now + 12, Home: STEPS, End: 0, Escape: undefined,
    }
    if (!(event.key in to)) return
    event.preventDefault()
    choose(to[event.key])
  })

  // --- what the page tells the chart ---

  // load takes what the server knows: its points, and how many ms the last step had lasted at the time `at`. The server may have
  // restarted since. Then it knows less than this page does, and the older points of the page stay. again says that this page was
  // not connected before.
  const load = (known, into, at, again) => {
    if (!known.length) known = [[0, 0]]
    if (points) advance()
    // Of the step in which it restarted, the server knows only the rest.
    const own = again && known.length < STEPS && points.at(-known.length)
    if (own) known[0][0] = Math.max(known[0][0], own[0])
    points = [...(points ?? []).slice(0, -known.length), ...known].slice(-STEPS)
    began = at - into
    advance()
    draw()
  }

  // note takes the count that holds from now on.
  const note = (count) => {
    advance()
    const now = points[points.length - 1]
    now[0] = Math.max(now[0], count)
    now[1] = count
    draw()
  }

  // loadFrom takes the points from a page that the server sent.
  const loadFrom = (page, at, again) => {
    const { points, into } = page.getElementById('chart').dataset
    load(JSON.parse(points), Number(into), at, again)
  }

  loadFrom(document, performance.getEntriesByType('navigation')[0].responseStart)
  const step = () => {
    advance()
    draw()
    setTimeout(step, Math.max(0, began + STEP - performance.now()))
  }
  step()

  return { load, loadFrom, note }
})()
