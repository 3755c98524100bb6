// What every module draws with: Preact, its hooks and htm, bound together.
import { h, render, Component, Fragment } from './vendor/preact.mjs';
import htm from './vendor/htm.mjs';

export { h, render, Component, Fragment };
export { useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useReducer } from './vendor/hooks.mjs';
export const html = htm.bind(h);

/** Joins the class names that hold. */
export const names = (...parts) => parts.filter(Boolean).join(' ');
