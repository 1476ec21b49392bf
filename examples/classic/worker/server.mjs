// The worker role: takes a line over TCP on its internal endpoint and gives it back in upper case.
import { createServer } from "node:net";

const server = createServer((socket) => {
  socket.setEncoding("utf8");
  socket.on("data", (text) => socket.write(text.toUpperCase()));
  socket.on("error", () => socket.destroy());
});

server.listen(Number(process.env.ENDPOINT_JOBS_PORT), () => {
  console.log(`listening on port ${server.address().port}`);
});

process.on("SIGTERM", () => process.exit(0));
