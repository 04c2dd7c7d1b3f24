// The npm package "eventsource-client", as its README has it.
import { createEventSource } from 'eventsource-client'

const source = createEventSource({ url: process.argv[2] })
for await (const { event, data } of source) {
  if (event === 'user count') console.log(event, data)
}
