"""Drives the unmodified PyPI client esdc-api against a running usherd; exits non-zero at the first surprise.

Environment: ES_API_URL, ES_API_KEY, USHER_USERNAME, USHER_PASSWORD, USHER_KEY (a public key line).
"""

import os

from esdc_api import Client
from esdc_api.exceptions import ClientError, ServerError, TaskError

URL = os.environ["ES_API_URL"]
KEY = os.environ["USHER_KEY"]


def expect(actual, expected, what):
    if actual != expected:
        raise SystemExit("%s: %r, not %r" % (what, actual, expected))


def refused(status, detail, call, *args, **kwargs):
    """The call must raise the client's class for refusals, with this status and text."""
    try:
        call(*args, **kwargs).content
    except ClientError as error:
        # What the client raises for 5xx and for tasks has other classes.
        expect(isinstance(error, (ServerError, TaskError)), False, "class of %r" % error)
        expect((error.status_code, error.detail), (status, detail), "refusal of %s %s" % (call.__name__, args))
    else:
        raise SystemExit("%s %s was not refused" % (call.__name__, args))


def session():
    """Login, what only a login may do, logout."""
    es = Client(api_url=URL)
    expect(es.ping(), "pong", "ping")
    expect(es.is_authenticated(), False, "before login")
    refused(403, "Authentication credentials were not provided.", es.get, "/accounts/user")
    refused(400, "Unable to log in with provided credentials.", es.login, os.environ["USHER_USERNAME"], "wrong")
    expect(es.login(os.environ["USHER_USERNAME"], os.environ["USHER_PASSWORD"]).ok, True, "login")
    expect(es.is_authenticated(), True, "after login")

    keys = es.get("/accounts/user/admin/apikeys").content.result
    expect(keys["api_key"], os.environ["ES_API_KEY"], "admin's API key")
    changed = es.set("/accounts/user/admin/apikeys", callback_key=True).content.result
    expect(changed["api_key"], keys["api_key"], "API key after a new callback key")
    expect(changed["callback_key"] == keys["callback_key"], False, "callback key stays")

    token = es.headers["Authorization"]
    expect(es.logout().content.result, {"detail": "Bye."}, "logout")
    expect(es.is_authenticated(), False, "after logout")
    es.headers["Authorization"] = token
    refused(403, "Invalid token.", es.get, "/accounts/user")


def users(es):
    bob = "/accounts/user/bob"
    refused(404, "User not found", es.get, bob)
    created = es.create(
        bob, first_name="Bob", last_name="Builder", email="bob@example.com", password="can we fix it", dc_bound=False
    )
    expect(created.status_code, 201, "create")
    expect(created.content.task_status, "SUCCESS", "create: task status")
    expect(created.content.task_id, created.headers["es_task_id"], "create: task id in body and header")
    expect(created.dc, "main", "create: datacenter")
    expect(created.content.result["username"], "bob", "create: username")
    refused(
        406, "User already exists", es.create, bob,
        first_name="B", last_name="B", email="b@example.com", password="x", dc_bound=False,
    )
    expect(es.set(bob, last_name="Baker").content.result["last_name"], "Baker", "set")
    refused(400, {"email": ["Enter a valid email address."]}, es.set, bob, email="no address")
    expect(es.get(bob).content.result["last_name"], "Baker", "get")
    expect(es.get("/accounts/user").content.result, ["admin", "bob"], "list")
    full = es.get("/accounts/user", full=True, order_by="-username").content.result
    expect([user["username"] for user in full], ["bob", "admin"], "full list")
    expect(es.options(bob).content.result["parses"], ["application/json"], "options")


def profiles(es):
    profile = "/accounts/user/bob/profile"
    expect(es.set(profile, title="Ing.", city="Bratislava").content.result["city"], "Bratislava", "set profile")
    expect(es.get(profile).content.result["title"], "Ing.", "get profile")
    listed = es.get("/accounts/user/profile", full=True).content.result
    expect(sorted(profile["username"] for profile in listed), ["admin", "bob"], "profiles")


def sshkeys(es):
    keys = "/accounts/user/bob/sshkey"
    created = es.create(keys + "/laptop", key=KEY)
    expect((created.status_code, created.content.result["title"]), (201, "laptop"), "create key")
    expect(created.content.result["key"], KEY, "key")
    refused(406, "SSH key already exists", es.create, keys + "/laptop", key=KEY)
    refused(400, {"key": ["Unknown SSH public key type."]}, es.create, keys + "/other", key="nonsense AAAA")
    expect(es.get(keys).content.result, ["laptop"], "keys")
    expect(es.get(keys + "/laptop").content.result["fingerprint"], created.content.result["fingerprint"], "get key")
    expect(es.delete(keys + "/laptop").content.result, None, "delete key")
    refused(404, "SSH key not found", es.get, keys + "/laptop")


def groups_and_datacenters(es):
    group = "/accounts/group/builders"
    expect(es.create(group, users=["bob"], dc_bound=False).status_code, 201, "create group")
    expect(es.get("/accounts/user/bob").content.result["groups"], ["builders"], "groups of the user")
    expect(es.set(group, permissions=["admin"]).content.result["permissions"], ["admin"], "set group")
    expect("admin" in es.get("/accounts/permission").content.result, True, "permissions")

    dc = "/dc/dc2"
    expect(es.create(dc, site="dc2.example.com").status_code, 201, "create dc")
    expect(es.set(dc, desc="second").content.result["desc"], "second", "set dc")
    expect(es.create(dc + "/group/builders").status_code, 201, "attach group")
    expect(es.get(dc + "/user").content.result, ["admin", "bob"], "users of the dc")
    expect(es.delete(dc + "/group/builders").content.result, None, "detach group")
    expect(es.delete(dc).content.result, None, "delete dc")
    refused(404, "Datacenter not found", es.get, dc)
    expect(es.delete(group).content.result, None, "delete group")
    refused(404, "User Group not found", es.get, group)
    expect(es.delete("/accounts/user/bob").content.result, None, "delete user")
    refused(404, "User not found", es.get, "/accounts/user/bob")


session()
client = Client(api_url=URL, api_key=os.environ["ES_API_KEY"])
refused(403, "Invalid API key", Client(api_url=URL, api_key="0" * 32).get, "/accounts/user")
users(client)
profiles(client)
sshkeys(client)
groups_and_datacenters(client)
print("esdc-api: all as expected")
