// The hello role: answers on its endpoint with its greeting and with who it is. All it knows, the guest agent gave it.
import { createServer } from "node:http";

const { ENDPOINT_HTTP_PORT, SETTING_GREETING, ROLE_INSTANCE, GOALSTATE_INCARNATION } = process.env;

const server = createServer((_request, response) => {
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.end(
    `${SETTING_GREETING ?? "hello"}\n` +
      `role instance ${ROLE_INSTANCE}, started at incarnation ${GOALSTATE_INCARNATION}\n`,
  );
});

server.listen(Number(ENDPOINT_HTTP_PORT ?? 8080), () => {
  console.log(`listening on port ${server.address().port}`);
});

process.on("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
