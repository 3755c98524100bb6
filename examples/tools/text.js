// Tools in one file: drop it into `tools/` of the data directory.
// See docs/javascript.md for what scripts can use.

/**
 * Count lines, words and characters of a text file of the workspace.
 * @param {string} path - the file, relative to the workspace
 * @effect none
 * @retry pure
 * @role path selector
 */
exports.count = (path) => {
  const text = fs.readFileSync(path, 'utf8');
  return {
    lines: text.split('\n').length - (text.endsWith('\n') ? 1 : 0),
    words: text.split(/\s+/).filter(Boolean).length,
    characters: [...text].length,
  };
};

/**
 * Replace every occurrence of a piece of text in several files, and say how often.
 * @param {string[]} paths - the files, relative to the workspace
 * @param {string} from - the text to replace
 * @param {string} to - the text to put in its place
 * @effect modify
 * @role paths selector
 * @role from content
 * @role to content
 */
exports.replaceAll = async (paths, from, to) => {
  if (from === '') throw new RangeError('`from` is empty');
  const replaced = {};
  for (const path of paths) {
    const text = await fs.promises.readFile(path, 'utf8');
    const pieces = text.split(from);
    replaced[path] = pieces.length - 1;
    if (pieces.length > 1) await fs.promises.writeFile(path, pieces.join(to));
  }
  return replaced;
};
