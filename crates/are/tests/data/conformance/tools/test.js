// What the official conformance suite of MCP expects of a server's tools, as a file of the registry.

const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const SILENCE = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQIAAACAgA==';
const image = { type: 'image', data: PIXEL, mimeType: 'image/png' };
const pause = () => new Promise((resolve) => setTimeout(resolve, 50));

/**
 * Return a line of text.
 * @effect none
 * @retry pure
 */
exports.simpleText = () => 'This is a simple text response for testing.';

/**
 * Return an image.
 * @effect none
 * @retry pure
 */
exports.imageContent = () => ({ content: [image] });

/**
 * Return a sound.
 * @effect none
 * @retry pure
 */
exports.audioContent = () => ({ content: [{ type: 'audio', data: SILENCE, mimeType: 'audio/wav' }] });

/**
 * Return a resource.
 * @effect none
 * @retry pure
 */
exports.embeddedResource = () => ({
  content: [{
    type: 'resource',
    resource: {
      uri: 'test://embedded-resource',
      mimeType: 'text/plain',
      text: 'This is an embedded resource content.',
    },
  }],
});

/**
 * Return text, an image and a resource.
 * @effect none
 * @retry pure
 */
exports.multipleContentTypes = () => ({
  content: [
    { type: 'text', text: 'Multiple content types test:' },
    image,
    {
      type: 'resource',
      resource: {
        uri: 'test://mixed-content-resource',
        mimeType: 'application/json',
        text: JSON.stringify({ test: 'data', value: 123 }),
      },
    },
  ],
});

/**
 * Say what goes on.
 * @effect none
 * @retry pure
 */
exports.toolWithLogging = async () => {
  console.log('Tool execution started');
  await pause();
  console.log('Tool processing data');
  await pause();
  console.log('Tool execution completed');
  return 'Tool with logging executed successfully';
};

/**
 * Say how far it is.
 * @effect none
 * @retry pure
 */
exports.toolWithProgress = async () => {
  console.log('0 of 100');
  await pause();
  console.log('50 of 100');
  await pause();
  console.log('100 of 100');
  return 'Tool with progress executed successfully';
};

/**
 * Fail.
 * @effect none
 * @retry pure
 */
exports.errorHandling = () => {
  throw new Error('This tool intentionally returns an error for testing');
};

/**
 * Ask the person behind the client; the rules of the stage see to that.
 * @param {string} message - what it is about
 * @effect none
 * @retry pure
 */
exports.elicitation = (message) => `User response to: ${message}`;

/**
 * Take long enough for a client to lose its connection.
 * @effect none
 * @retry pure
 */
exports.reconnection = async () => {
  await pause();
  return 'Reconnection test completed';
};
