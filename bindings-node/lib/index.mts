/** The same package for `import`: one set of classes, whichever way it is loaded. */

export * from './index.js';
export { Octopoid as default } from './index.js';
