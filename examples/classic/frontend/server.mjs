// The frontend role: answers on its endpoint with the greeting of the service configuration.
import { createServer } from "node:http";

const { ENDPOINT_SITE_PORT, SETTING_GREETING, ROLE_INSTANCE } = process.env;

const server = createServer((_request, response) => {
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.end(`${SETTING_GREETING}\nrole instance ${ROLE_INSTANCE}\n`);
});

server.listen(Number(ENDPOINT_SITE_PORT), () => {
  console.log(`listening on port ${server.address().port}`);
});

process.on("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
