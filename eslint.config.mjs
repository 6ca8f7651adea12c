import js from '@eslint/js';
import importX from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

/** Which top-level folder may import which: the table in docs/architecture.md. */
const folderRules = [
  { target: './lib', from: ['./controller', './bench', './test', './scripts'] },
  { target: './imports', from: ['./lib', './controller', './bench', './test', './scripts'] },
  { target: './controller', from: ['./bench', './test', './scripts'] },
  {
    target: [
      './controller/*.ts',
      './controller/!(backends)/**/*',
      './controller/backends/*.ts',
      './controller/backends/!(kubernetes)/**/*',
    ],
    from: ['./lib', './imports'],
  },
  {
    target: './controller/model',
    from: ['./controller/!(model)/**/*'],
    message: 'the model is pure: it imports nothing of the controller but itself and errors.ts',
  },
];

export default tseslint.config(
  { ignores: ['build/', 'dist/', 'imports/', 'node_modules/', 'coverage/', '**/.venv/', 'runner/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { 'import-x': importX },
    rules: {
      'import-x/no-restricted-paths': ['error', { zones: folderRules, basePath: import.meta.dirname }],
      'no-restricted-properties': [
        'error',
        {
          object: 'process',
          property: 'env',
          message: 'the environment is read in controller/config.ts only',
        },
      ],
      'no-console': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
    },
  },
  {
    files: [
      'controller/config.ts',
      'controller/cli/**',
      'controller/demo/**',
      'bench/**',
      'test/**',
      'scripts/**',
      '*.ts',
    ],
    rules: { 'no-restricted-properties': 'off', 'no-console': 'off' },
  },
  {
    files: ['test/**'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', URL: 'readonly', setTimeout: 'readonly' },
    },
  },
);
