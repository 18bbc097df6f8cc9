// The package as others get it: packed, installed into an empty project, loaded in every way, and its types.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';

import { PACKAGE, cleanEnv, project as install, run, suite } from './help.mjs';

const exec = promisify(execFile);
const TSC = join(PACKAGE, 'node_modules', 'typescript', 'bin', 'tsc');

describe('the installed package', () => {
  const whole = suite();
  let project;

  before(async () => {
    project = await install(whole);
  });

  const program = (name, text, ...args) => {
    writeFileSync(join(project, name), text);
    return run([name, ...args], { cwd: project });
  };

  it('holds what it needs, and nothing else', () => {
    const inside = readdirSync(join(project, 'node_modules', 'octopoid')).sort();
    const native = inside.filter((name) => name.endsWith('.node'));
    assert.equal(native.length, 1);
    assert.deepEqual(inside.filter((name) => !name.endsWith('.node')), ['README.md', 'bin', 'dist', 'native.d.ts', 'native.js', 'package.json']);
    assert.deepEqual(Object.keys(JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')).dependencies ?? {}), []);
  });

  it('is loaded by require and by import as one and the same', async () => {
    const { code, stdout, stderr } = await program(
      'both.mjs',
      `import { createRequire } from 'node:module';
       import Default, * as all from 'octopoid';
       import * as sdk from 'octopoid/sdk';
       const require = createRequire(import.meta.url);
       const cjs = require('octopoid');
       const names = Object.keys(cjs).filter((name) => name !== 'default').sort();
       console.log(JSON.stringify({
         same: names.every((name) => cjs[name] === all[name] && cjs[name] === sdk[name]),
         default: Default === all.Octopoid && cjs.default === Default && sdk.default === Default && require('octopoid/sdk') === cjs,
         alias: all.OctopoidSDK === all.Octopoid,
         names,
       }));`,
    );
    assert.equal(code, 0, stderr);
    const seen = JSON.parse(stdout);
    assert.deepEqual([seen.same, seen.default, seen.alias], [true, true, true]);
    for (const name of ['Octopoid', 'OctopoidSDK', 'OctopoidClient', 'Orchestrator', 'OctopoidError', 'git', 'queue']) {
      assert.ok(seen.names.includes(name), name);
    }
  });

  it('works from CommonJS', async () => {
    const { code, stdout, stderr } = await program(
      'common.cjs',
      `const { Octopoid } = require('octopoid');
       const octopoid = Octopoid.local(process.argv[2]);
       octopoid.tasks.create({ title: 'From CommonJS' }).then((task) => console.log(task.title));`,
      'queue',
    );
    assert.deepEqual([code, stdout], [0, 'From CommonJS\n'], stderr);
    assert.ok(existsSync(join(project, 'queue')));
  });

  it('brings the command', async () => {
    const { stdout } = await exec('npx', ['--offline', 'octopoid', '--version'], { cwd: project, env: cleanEnv() });
    assert.equal(stdout.trim(), 'octopoid 2.0.0');
  });

  it('has types that the strict compiler takes', async () => {
    const types = join(PACKAGE, 'test', 'types');
    cpSync(types, join(project, 'types'), { recursive: true });
    const strict = ['--strict', '--noEmit', '--skipLibCheck', 'false', '--target', 'es2022', '--module', 'nodenext'];
    const check = async (files, ...more) => {
      const { code, stdout } = await run([TSC, ...strict, ...more, ...files], { cwd: project });
      assert.equal(code, 0, stdout);
    };
    await check(['types/usage.ts', 'types/require.cts'], '--lib', 'es2022', '--types', 'node');
    await check(['types/usage.ts'], '--lib', 'es2022,dom,dom.asynciterable,esnext.disposable', '--types', '');
    await check(['types/bare.ts'], '--lib', 'es2022', '--types', '');
    await check(['types/bare.ts'], '--lib', 'es2022', '--types', '', '--exactOptionalPropertyTypes');
  });
});

describe('the package file', () => {
  it('agrees with the workspace', () => {
    const { version, bin } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
    const workspace = readFileSync(join(PACKAGE, '..', 'Cargo.toml'), 'utf8');
    assert.equal(version, /^\[workspace\.package\]\nversion = "(.*)"/m.exec(workspace)[1]);
    assert.ok(existsSync(join(PACKAGE, bin.octopoid)));
  });

  it('is locked without addresses of a registry', () => {
    assert.doesNotMatch(readFileSync(join(PACKAGE, 'package-lock.json'), 'utf8'), /"resolved"|https?:\/\/[^"]*registry/);
  });
});
