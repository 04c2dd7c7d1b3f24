// The npm package "event-source-polyfill", as its README has it.
import polyfill from 'event-source-polyfill'

const source = new polyfill.EventSourcePolyfill(process.argv[2])
source.addEventListener('user count', (event) => console.log(event.type, event.data))
