// npm's write-file-atomic, its synchronous form.
const path = require('path');
const writeFileAtomic = require(require.resolve('write-file-atomic', { paths: [process.argv[3]] }));
const lines = require('readline').createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const [operation, argument, count] = line.split(' ');
  if (operation !== 'replace') return console.log('-');
  const content = 'x'.repeat(Number(argument));
  const begin = process.hrtime.bigint();
  for (let i = 0; i < Number(count); ++i) writeFileAtomic.sync(path.join(process.argv[2], 'replaced'), content);
  console.log(String(process.hrtime.bigint() - begin));
});
