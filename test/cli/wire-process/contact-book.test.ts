import { expect, test } from "vitest";
import { ContactBook } from "../../../src/cli/wire-process/contact-book.ts";
import type { Contact } from "../../../src/cli/wire-process/messages.ts";
import type { WireContainer } from "../../../src/wireserver/index.ts";

function openBook() {
  const told: string[] = [];
  const book = new ContactBook((contacts: readonly Contact[]) => {
    told.push(contacts.map(({ kind, incarnation }) => `${kind} ${incarnation}`).join(", "));
  });
  const container = { name: "a", incarnation: 1 } as WireContainer;
  return { book, told, container };
}

test("the first of a kind is told at once, the rest when it is asked for, each kind once", () => {
  const { book, told, container } = openBook();
  for (let count = 0; count < 3; count += 1) {
    book.note(container, "versions", undefined);
    book.note(container, "goalstate", 1);
  }
  expect(told).toEqual(["versions undefined", "goalstate 1"]);
  book.flushAll();
  expect(told.slice(2)).toEqual(["versions undefined, goalstate 1"]);
  book.flushAll();
  expect(told).toHaveLength(3);
});

test("a new incarnation is told at once, behind what waits", () => {
  const { book, told, container } = openBook();
  book.note(container, "versions", undefined);
  book.note(container, "goalstate", 1);
  book.note(container, "versions", undefined);
  book.note({ ...container, incarnation: 2 }, "goalstate", 2);
  expect(told).toEqual(["versions undefined", "goalstate 1", "versions undefined, goalstate 2"]);
});

test("numbers that a guest makes up are no news", () => {
  const { book, told, container } = openBook();
  for (const incarnation of [7, 8, 9]) book.note(container, "health", incarnation);
  expect(told).toEqual(["health 7"]);
});

test("what waits of a container can be told before something else is said of it", () => {
  const { book, told, container } = openBook();
  book.note(container, "versions", undefined);
  book.note(container, "versions", undefined);
  book.flush("b");
  expect(told).toHaveLength(1);
  book.flush("a");
  expect(told).toHaveLength(2);
  book.forget("a");
  book.note(container, "versions", undefined);
  expect(told).toHaveLength(3);
});
