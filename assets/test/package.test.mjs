// The npm package, packed, installed into an empty project and bundled, as people do.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'

const assets = fileURLToPath(new URL('..', import.meta.url))

test('npm pack gives a package that is installed, typed and bundled', (t) => {
  const project = mkdtempSync(join(tmpdir(), 'headcount-'))
  t.after(() => rmSync(project, { recursive: true }))
  const run = (...command) => execFileSync(command[0], command.slice(1), { cwd: project, encoding: 'utf8' })

  const [{ filename, files }] = JSON.parse(run('npm', 'pack', '--json', '--pack-destination', project, assets))
  assert.deepEqual(files.map(({ path }) => path).sort(), ['io.d.mts', 'io.d.ts', 'io.js', 'io.mjs', 'package.json'])
  writeFileSync(join(project, 'package.json'), '{"type":"module"}')
  run('npm', 'install', '--offline', '--no-audit', '--no-fund', './' + filename)
  writeFileSync(
    join(project, 'app.mjs'),
    `import { io } from 'headcount'\nio('/room', { path: '/live' }).on('user count', console.log)\n`,
  )

  run(join(assets, 'node_modules/.bin/esbuild'), 'app.mjs', '--bundle', '--format=esm', '--outfile=bundle.js')
  assert.match(readFileSync(join(project, 'bundle.js'), 'utf8'), /EventSource/)
  run(
    join(assets, 'node_modules/.bin/tsc'),
    '--noEmit',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--allowJs',
    '--checkJs',
    'app.mjs',
  )
  // A server that renders pages imports it, too, and has no window.
  assert.equal(run('node', '-e', `import('headcount').then(({ io }) => console.log(typeof io))`).trim(), 'function')
})
