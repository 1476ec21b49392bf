// The internal tier: says the time, and who it is.
import { createServer } from "node:http";

const { ENDPOINT_API_PORT, ROLE_INSTANCE } = process.env;

const server = createServer((_request, response) => {
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.end(`${new Date().toISOString()} by ${ROLE_INSTANCE}\n`);
});

server.listen(Number(ENDPOINT_API_PORT), () => {
  console.log(`listening on port ${server.address().port}`);
});

process.on("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
