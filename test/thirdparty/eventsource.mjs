// The EventSource of the npm package "eventsource", as its README has it.
import { EventSource } from 'eventsource'

const source = new EventSource(process.argv[2])
source.addEventListener('user count', (event) => console.log(event.type, event.data))
