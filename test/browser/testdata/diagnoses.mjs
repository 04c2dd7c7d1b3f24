// Prints what the page's doctor says of the facts in client/doctor/testdata/diagnoses.json, in the same form.
import { readFileSync } from 'node:fs'
import { ofPath, ofStreams, ofTime, verdictOf } from '../../../assets/src/diagnosis.mjs'
import { Refusal } from '../../../assets/src/probe.mjs'

/** Gives faults and headers the forms that they have in a browser. */
const revive = (key, value) => {
  if (value === null) return undefined
  if (key === 'headers') return new Headers(Object.entries(value).filter(([, text]) => text))
  return value.words === undefined ? value : new Refusal(value.words, value.status, value.own)
}

const said = {}
for (const [name, { facts }] of Object.entries(JSON.parse(readFileSync('../../client/doctor/testdata/diagnoses.json'), revive))) {
  const found = ofPath(facts)
  if (!facts.path.error) found.push(...ofStreams(facts), ...ofTime(facts))
  said[name] = {
    findings: found.map(([name, verdict, words, advice = '']) => ({ name, verdict, words, advice })),
    diagnosis: verdictOf(facts),
  }
}
console.log(JSON.stringify(said))
