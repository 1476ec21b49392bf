// The public tier: answers with what the api role said, which it finds by its name in the VNET.
import { createServer } from "node:http";

const { ENDPOINT_SITE_PORT, SETTING_API, ROLE_INSTANCE } = process.env;

const server = createServer(async (request, response) => {
  response.setHeader("content-type", "text/plain; charset=utf-8");
  if (request.url === "/healthy") return response.end("healthy\n");
  try {
    const answer = await fetch(SETTING_API, { signal: AbortSignal.timeout(2000) });
    response.end(`${ROLE_INSTANCE}: the api says: ${await answer.text()}`);
  } catch (error) {
    response.statusCode = 502;
    response.end(
      `${ROLE_INSTANCE}: no answer from ${SETTING_API}: ${error.cause?.message ?? error}\n`,
    );
  }
});

server.listen(Number(ENDPOINT_SITE_PORT), () => {
  console.log(`listening on port ${server.address().port}`);
});

process.on("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
