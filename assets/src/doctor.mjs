// The doctor of the page: what "client doctor" reports in a terminal, as far as a browser lets a page see it. page.js loads it when
// somebody asks: docs/decisions/0024-the-doctor-in-the-page.md.

import { ofPath, ofStreams, ofTime, span, verdictOf } from './diagnosis.mjs'
import { newProbes } from './probe.mjs'

const beatOf = (time) => Math.max(1000, time / 32)

/** Gaps of at most a beat that fill a time. */
const beats = (time) => {
  const beat = beatOf(time)
  return Array.from({ length: Math.ceil(time / beat) }, (_, i) => Math.min(beat, time - i * beat))
}

/** Asks all, and reports what it finds as it finds it. A browser has six connections for a server over HTTP/1.1, and the page needs one
 * of them: no more than five requests are under way at once. */
const findOut = async (probes, report, doing) => {
  const facts = { path: await probes.path() }
  report(ofPath(facts))
  if (facts.path.error) return facts
  const { noProbes, server } = facts.path
  const heartbeat = 1000 * (server?.heartbeat ?? 10)
  facts.silence = Math.min(1.25 * heartbeat, 60000)
  // Through some proxies the server hears of it at its second heartbeat, or a little later.
  facts.watch = Math.min(3 * heartbeat, 90000) + 1000 * (server?.linger ?? 0)
  facts.beat = beatOf(facts.silence)
  const silent = noProbes ? undefined : probes.probe([facts.silence])
  doing('Checking how a stream arrives …')
  await Promise.all([
    probes.session().then((session) => (facts.session = session)),
    ...(noProbes
      ? []
      : [
          probes.probeTwice().then((probe) => (facts.probe = probe)),
          probes.socket().then((why) => (facts.socket = why)),
        ]),
  ])
  const noticed = facts.session.error ? undefined : probes.close(facts.session, facts.watch)
  doing('Checking whether polls arrive …')
  await probes.post().catch((error) => (facts.post = error))
  facts.polling = await probes.polling()
  const { error } = facts.session
  if (error?.status !== undefined && !error.own && !facts.polling.error) facts.polling.typed = await probes.typedPoll()
  report(ofStreams(facts))
  doing(`Listening to silence, for ${span(facts.silence)} in all …`)
  facts.silent = await silent
  if (silent && !facts.silent.complete) {
    doing('Checking whether silence ended the stream …')
    facts.beating = await probes.probe(beats(facts.silence))
  }
  doing('Waiting until a closed stream is noticed …')
  facts.noticed = await noticed
  report(ofTime(facts))
  return facts
}

const make = (tag, textContent, ...children) => {
  const element = Object.assign(document.createElement(tag), { textContent })
  element.append(...children)
  return element
}

/** Examines the way to the server and reports in the section given, until the signal. */
export const examine = async (section, signal) => {
  const [diagnosis, findings, todo, advice] = ['.diagnosis', '.findings', '.todo', '.advice'].map((name) =>
    section.querySelector(name),
  )
  const doing = (text) => {
    if (!signal.aborted) diagnosis.textContent = text
  }
  const given = new Set([undefined])
  const report = (found) => {
    if (signal.aborted) return
    for (const [name, verdict, text, help] of found) {
      const row = findings.appendChild(
        make('div', '', make('dt', name), make('dd', '', make('b', verdict), ' ', make('span', text))),
      )
      row.dataset.verdict = verdict
      if (!given.has(help)) advice.append(make('li', help))
      given.add(help)
    }
  }
  findings.replaceChildren()
  advice.replaceChildren()
  todo.hidden = true
  doing('Checking who answers …')
  const facts = await findOut(newProbes(signal), report, doing)
  doing(verdictOf(facts))
  todo.hidden = signal.aborted || !advice.firstChild
}
