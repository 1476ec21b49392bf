import { describe, expect, onTestFinished, test } from "vitest";
import { createUserControl } from "../../src/cli/users/user-control.ts";
import { FakeFabric, tenant } from "../compute/manager/fake-fabric.ts";

const ROLE = { tenant: "lab", role: "web" };
const EXPIRES = "2026-01-01T01:00:00.000Z"; // an hour after the clock's start
const user = (name: string, password = "p") => ({ name, password, expires: EXPIRES });

async function open(role: object = {}) {
  const fabric = new FakeFabric();
  onTestFinished(() => fabric[Symbol.asyncDispose]());
  await fabric.addNode("n1");
  fabric.startManager();
  await fabric.settle();
  await fabric.manager.submit(tenant({ role }), "/");
  await fabric.settle();
  const users = createUserControl(fabric.manager, () => fabric.clock.nowMs);
  const goal = async () => {
    await fabric.settle();
    return (await fabric.goal("lab.web_0"))!;
  };
  return { fabric, users, goal };
}

describe("an account for a while", () => {
  test("comes to the goals of its role with a new incarnation, is listed without its password, and goes", async () => {
    const { users, goal } = await open();
    expect(await users.add(ROLE, user("jit"))).toEqual({ kind: "updated" });
    expect(await goal()).toMatchObject({ users: [user("jit")], incarnation: 2, attempt: 1 });
    expect(users.list(ROLE)).toEqual([{ name: "jit", expires: EXPIRES }]);
    expect(await users.add(ROLE, user("jit"))).toEqual({ kind: "unchanged" });
    expect(await users.remove(ROLE, "jit")).toEqual({ kind: "updated" });
    expect(await goal()).not.toHaveProperty("users");
    expect(await users.remove(ROLE, "jit")).toEqual({ kind: "unchanged" });
  });

  test("replaces one of its name, and takes those that have expired with it", async () => {
    const { fabric, users, goal } = await open();
    await users.add(ROLE, user("old"));
    await users.add(ROLE, user("jit"));
    await users.add(ROLE, user("jit", "other"));
    expect((await goal()).users).toEqual([user("old"), user("jit", "other")]);
    fabric.clock.nowMs = Date.parse(EXPIRES);
    const later = { ...user("late"), expires: "2026-01-01T02:00:00.000Z" };
    await users.add(ROLE, later);
    expect((await goal()).users).toEqual([later]);
  });

  test("lasts until the tenant is deployed again", async () => {
    const { fabric, users, goal } = await open();
    await users.add(ROLE, user("jit"));
    await fabric.manager.submit(tenant({}), "/");
    expect(await goal()).not.toHaveProperty("users");
  });

  test("keeps what a deploy at the same moment brings", async () => {
    const { fabric, users, goal } = await open();
    const deployed = fabric.manager.submit(tenant({ settings: { COLOR: "red" } }), "/");
    await Promise.all([deployed, users.add(ROLE, user("jit"))]);
    expect(await goal()).toMatchObject({ settings: { COLOR: "red" }, users: [user("jit")] });
  });

  test("is refused where tenant or role is not there, and where it is the administrator", async () => {
    const { fabric, users } = await open({
      provisioning: { adminUsername: "admin", adminPassword: "p" },
    });
    const none = { tenant: "none", role: "web" };
    await expect(users.add(none, user("jit"))).rejects.toMatchObject({
      code: "ERR_USAGE_TENANT_UNKNOWN",
    });
    expect(() => users.list(none)).toThrow("There is no tenant none");
    await expect(users.add({ ...ROLE, role: "db" }, user("jit"))).rejects.toThrow(
      "Tenant lab has no role db; it has web",
    );
    await expect(users.add(ROLE, user("admin"))).rejects.toThrow("is the adminUsername");
    await fabric.settle();
    expect(users.list(ROLE)).toEqual([]);
  });
});
