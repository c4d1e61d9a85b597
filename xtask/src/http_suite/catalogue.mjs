// Prints as JSON what the package in the folder given as argument knows: its tests by group, and
// the results of the shared caches that it ships.

import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const folder = path.resolve(process.argv[2])
const load = async file => (await import(pathToFileURL(path.join(folder, file)))).default

// A test without a kind is a required one.
const describe = ({ id, name, kind = 'required', depends_on = [] }) => ({ id, name, kind, depends_on })

const groups = (await load('tests/index.mjs')).map(({ name, tests }) => ({
  name,
  tests: tests.filter(test => !test.browser_only).map(describe)
}))

const published = (await load('results/index.mjs'))
  .filter(cache => cache.type !== 'browser')
  .map(({ name, file }) => ({
    name,
    results: JSON.parse(fs.readFileSync(path.join(folder, 'results', file), 'utf8'))
  }))

console.log(JSON.stringify({ groups, published }))
