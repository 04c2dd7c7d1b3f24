import js from '@eslint/js'
import globals from 'globals'

export default [
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2022, globals: { ...globals.browser, process: 'readonly' } },
    // An empty catch stands where a browser may forbid something, and the client goes on without.
    rules: { 'no-empty': ['error', { allowEmptyCatch: true }], eqeqeq: 'off' },
  },
]
