/** Each client asks exactly what it asks on Azure, and finds exactly what it reads. */

import { describe, expect, test } from "vitest";
import { parseSubnet } from "../../../src/model/ipv4-address.ts";
import { CONTAINER } from "../fixtures.ts";
import { ask, PROVISIONED } from "./ask.ts";

const KEY_PATH = "/home/labadmin/.ssh/authorized_keys";

describe("WALinuxAgent", () => {
  const headers = {
    Metadata: "True",
    "User-Agent": "WALinuxAgent/2.7.3.0",
    Connection: "close",
    "Accept-Encoding": "identity",
  };

  test("finds what it adds to its telemetry", async () => {
    const url = "/metadata/instance/compute?api-version=2018-02-01";
    const { response, recorder } = await ask({ url, headers });
    expect(response.statusCode).toBe(200);
    expect(response.headers["content-type"]).toBe("application/json; charset=utf-8");
    expect(response.headers["content-encoding"]).toBeUndefined();
    const compute = response.json();
    for (const name of [
      ...["location", "subscriptionId", "resourceGroupName", "vmId"],
      ...["publisher", "offer", "sku", "version"],
    ]) {
      expect(compute[name], name).toBeTypeOf("string");
    }
    expect(compute.vmId).toBe(CONTAINER.containerId);
    expect(recorder.lines).toEqual(["hello.web_0 metadata"]);
  });

  test("finds a MAC and an address when it asks each minute how the service is", async () => {
    const { response } = await ask({
      url: "/metadata/instance?api-version=2018-02-01",
      headers: { ...headers, "User-Agent": "WALinuxAgent/2.7.3.0+health" },
    });
    expect(response.statusCode).toBe(200);
    const [nic] = response.json().network.interface;
    expect(nic.macAddress).toBe("00155D0A0B0C");
    expect(nic.ipv4.ipAddress[0].privateIpAddress).toBe("10.20.0.4");
  });
});

describe("cloud-init", () => {
  const headers = {
    Metadata: "true",
    "User-Agent": "Cloud-Init/22.4.2",
    "Accept-Encoding": "gzip, deflate",
    Connection: "keep-alive",
  };

  test("finds user, keys, data and network with extended=true", async () => {
    const { response } = await ask({
      url: "/metadata/instance?api-version=2021-08-01&extended=true",
      headers,
    });
    expect(response.statusCode).toBe(200);
    const { compute, network, extended } = response.json();
    expect(compute.osProfile).toEqual({
      adminUsername: "labadmin",
      computerName: "lab-vm-01",
      disablePasswordAuthentication: "true",
    });
    expect(compute.publicKeys).toEqual([
      { keyData: "ssh-ed25519 AAAAC3Nza one", path: KEY_PATH },
      { keyData: "ecdsa-sha2-nistp256 AAAAE2Vj two", path: KEY_PATH },
    ]);
    expect(compute.userData).toBe("aGVsbG8=");
    expect(compute.location).toBe("goalstate");
    expect(compute.platformFaultDomain).toBe("0");
    expect(extended).toEqual({ compute: { hasCustomData: true, ppsType: "None" } });
    expect(network.interface).toEqual([
      {
        macAddress: "00155D0A0B0C",
        ipv4: {
          ipAddress: [{ privateIpAddress: "10.20.0.4", publicIpAddress: "" }],
          subnet: [{ address: "10.20.0.0", prefix: "24" }],
        },
        ipv6: { ipAddress: [] },
      },
    ]);
  });

  test("finds keys and network in the older version that it falls back to", async () => {
    const { response } = await ask({ url: "/metadata/instance?api-version=2019-06-01", headers });
    expect(response.statusCode).toBe(200);
    const document = response.json();
    expect(document.compute.publicKeys).toHaveLength(2);
    expect(document.compute.osProfile).toBeUndefined();
    expect(document.compute.userData).toBeUndefined();
    expect(document.extended).toBeUndefined();
    expect(document.network.interface[0].macAddress).toBe("00155D0A0B0C");
  });

  test("is told that passwords count where the user has one", async () => {
    const { response } = await ask(
      { url: "/metadata/instance?api-version=2021-08-01&extended=true", headers },
      {
        ...CONTAINER,
        provisioning: { ...PROVISIONED.provisioning!, sshKeys: [], adminPassword: "secret-1" },
      },
    );
    expect(response.json().compute.osProfile.disablePasswordAuthentication).toBe("false");
    expect(response.json().compute.publicKeys).toEqual([]);
    expect(response.body).not.toContain("secret-1");
    expect(response.body).not.toContain("I2Nsb3VkLWNvbmZpZwo=");
  });

  test("that was provisioned in advance waits for a document that never comes: 404", async () => {
    const { response } = await ask({
      url: "/metadata/reprovisiondata?api-version=2019-06-01",
      headers,
    });
    expect(response.statusCode).toBe(404);
  });
});

test("azure-init finds all that its parser insists on", async () => {
  const { response } = await ask({
    url: "/metadata/instance?api-version=2023-11-15&extended=true",
    headers: { Metadata: "true" },
  });
  expect(response.statusCode).toBe(200);
  const { compute } = response.json();
  expect(compute.osProfile).toEqual({
    adminUsername: "labadmin",
    computerName: "lab-vm-01",
    disablePasswordAuthentication: "true",
  });
  for (const key of compute.publicKeys) {
    expect(key).toEqual({ keyData: expect.stringMatching(/^\S+ \S+/), path: KEY_PATH });
  }
});

describe("afterburn", () => {
  const headers = { metadata: "true" };

  for (const [path, version, text] of [
    ["name", "2017-08-01", "web_0"],
    ["vmSize", "2017-08-01", "Standard_G1"],
    ["osProfile/adminUsername", "2021-02-01", "labadmin"],
  ] as const) {
    test(`reads ${path} as text`, async () => {
      const { response } = await ask({
        url: `/metadata/instance/compute/${path}?api-version=${version}&format=text`,
        headers,
      });
      expect(response.statusCode).toBe(200);
      expect(response.headers["content-type"]).toBe("text/plain; charset=utf-8");
      expect(response.body).toBe(text);
    });
  }

  test("reads the keys as a list", async () => {
    const { response } = await ask({
      url: "/metadata/instance/compute/publicKeys?api-version=2021-02-01",
      headers,
    });
    expect(response.json()).toEqual([
      { keyData: "ssh-ed25519 AAAAC3Nza one", path: KEY_PATH },
      { keyData: "ecdsa-sha2-nistp256 AAAAE2Vj two", path: KEY_PATH },
    ]);
  });

  test("on Azure Stack takes the host name from the identity", async () => {
    const url = "/Microsoft.Compute/identity?api-version=2019-03-11";
    const { response } = await ask({ url, headers });
    expect(response.json()).toEqual({
      vmName: "web_0",
      subscriptionId: "00000000-0000-0000-0000-000000000000",
    });
  });
});

describe("Talos", () => {
  const headers = { Metadata: "true" };

  test("finds what it makes node labels and its provider id of", async () => {
    for (const version of ["2021-12-13", "2019-06-01"]) {
      const { response } = await ask({
        url: `/metadata/instance/compute?api-version=${version}&format=json`,
        headers,
      });
      expect(response.statusCode).toBe(200);
      const compute = response.json();
      expect(compute.resourceId).toMatch(
        /^\/subscriptions\/[^/]+\/resourceGroups\/hello\/providers\/Microsoft\.Compute\/virtualMachines\/web_0$/,
      );
      for (const name of ["location", "zone", "vmSize", "platformFaultDomain"]) {
        expect(compute[name], name).toBeTypeOf("string");
      }
      expect(compute.osProfile?.computerName).toBe(
        version === "2021-12-13" ? "lab-vm-01" : undefined,
      );
    }
  });

  test("finds its interfaces", async () => {
    const { response } = await ask({
      url: "/metadata/instance/network/interface?api-version=2021-12-13&format=json",
      headers,
    });
    const [nic] = response.json();
    expect(nic.ipv4.ipAddress).toEqual([{ privateIpAddress: "10.20.0.4", publicIpAddress: "" }]);
    expect(nic.ipv6.ipAddress).toEqual([]);
  });

  test("is told that there is no load balancer", async () => {
    const url = "/metadata/loadbalancer?api-version=2021-12-13&format=json";
    const { response } = await ask({ url, headers });
    expect(response.statusCode).toBe(404);
  });
});

describe("Ignition", () => {
  const request = {
    url: "/metadata/instance/compute/userData?api-version=2021-01-01&format=text",
    headers: { Metadata: "true" },
  };

  test("gets the user data in base64", async () => {
    expect((await ask(request)).response.body).toBe("aGVsbG8=");
  });

  test("gets an empty text with 200 where there are none, and then reads the disc", async () => {
    const { response } = await ask(request, CONTAINER);
    expect(response.statusCode).toBe(200);
    expect(response.body).toBe("");
  });
});

test("a script without an agent reads its name", async () => {
  const { response } = await ask({
    url: "/metadata/instance/compute/name?api-version=2019-06-01&format=text",
    headers: { Metadata: "true" },
  });
  expect(response.body).toBe("web_0");
});

test("a guest that was given no user is told of the place's", async () => {
  const { response } = await ask(
    { url: "/metadata/instance?api-version=2021-02-01", headers: { Metadata: "true" } },
    CONTAINER,
    { place: { location: "lab", adminUsername: "somebody" } },
  );
  const { compute } = response.json();
  expect(compute.osProfile).toEqual({
    adminUsername: "somebody",
    computerName: "web-0",
    disablePasswordAuthentication: "true",
  });
  expect(compute.location).toBe("lab");
  expect(compute.publicKeys).toEqual([]);
});

test("the subnet is the VNET's own", async () => {
  const { response } = await ask(
    {
      url: "/metadata/instance/network/interface/0/ipv4/subnet/0/prefix?api-version=2021-02-01",
      headers: { Metadata: "true" },
    },
    { ...CONTAINER, subnet: parseSubnet("10.20.0.0/16") },
  );
  expect(response.body).toBe("16");
});
