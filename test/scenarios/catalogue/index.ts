export { DISCOVERING } from "./discovering.ts";
export { INFORMING } from "./informing.ts";
export { OPTIONS } from "./options.ts";
export { RELAYING } from "./relaying.ts";
export { REQUESTING } from "./requesting.ts";
