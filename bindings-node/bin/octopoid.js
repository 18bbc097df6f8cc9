#!/usr/bin/env node
'use strict';

// Node's own handlers end the process at once; without listeners the signals are the command's to take.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  const nothing = () => {};
  process.on(signal, nothing);
  process.off(signal, nothing);
}

// Where the command starts itself again, as a daemon for example, it is this file that has to be run.
process.env.OCTOPOID_PROGRAM ??= __filename;

const { cli } = require('../native.js');

process.exitCode = cli(['octopoid', ...process.argv.slice(2)]);
