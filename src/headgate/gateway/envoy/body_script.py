"""What Envoy's Lua filter does with bodies: the model of a form, the base model, and why nothing was read.

It stands behind `transform`, which has put the `model` of a JSON body into the header. The rules for forms
are those of `headgate.wire.multipart`, and a live test holds both to one result. As `transform` does with
JSON, a field that comes twice is not guessed at; nor is a name that no header may hold.
"""

import hashlib
import re
from collections.abc import Mapping

from headgate.model import headers
from headgate.model.bounds import BOUNDARY_BYTES, MODEL_NAME_BYTES, MOST_PARTS, PART_HEADERS_BYTES

NAMESPACE = "headgate.body"
"""Dynamic metadata of a request."""
UNREAD = "unread"
"""Its key for why no model was read, in words for the client; absent where one was, or where no body came."""
READ_MARK = "x-headgate-json"
"""Request header that `transform` sets when it has read a body as a JSON object; it goes no further."""

BASE_MODELS = "base_models"
"""Key of the filter's context for the table of base models: lines of a model's name, a tab and its base's."""
VERSION = "version"
"""Key for what tells one such table from others; absent where there is none."""
MOST_VERSIONS = 16
"""Tables that a worker remembers."""
WINDOW_BYTES = 1 << 18
"""Bytes of a form that are looked at at once."""

JSON_TYPE = "application/json"
"""Part of the content type of bodies that `transform` looks into; fixed there."""
FORM_TYPE = "multipart/form-data"

NO_TYPE = f"The request has no content type, so no model was read; send {JSON_TYPE} or {FORM_TYPE}."
OTHER_TYPE = f"The model is read from {JSON_TYPE} and {FORM_TYPE}; the content type is another one."
COMPRESSED = "The body is compressed, so no model was read."
BAD_JSON = "The body is not a valid JSON object, so no model was read."
BAD_BOUNDARY = f"The content type of {FORM_TYPE} names no usable boundary."
BAD_FORM = "The form is not well-formed, so no model was read."
TWICE = "The form has more than one field named model."
NO_MODEL = "The body has no model."
BAD_NAME = f"The model's name is longer than {MODEL_NAME_BYTES} bytes, is no UTF-8 or has control characters."


def context(base_models: Mapping[str, str]) -> dict[str, str]:
    """The filter's context in which names of models have these base models.

    It is text because Envoy copies it for every request, and 1,000 fields of their own take 0.2 ms.
    """
    lines = sorted(
        f"{name}\t{base}\n"
        for name, base in base_models.items()
        if name and base and not _CONTROL.search(name + base)
    )
    text = "".join(lines)
    return {VERSION: hashlib.sha256(text.encode()).hexdigest(), BASE_MODELS: text} if lines else {}


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""No model's name that is read has any of these."""

_FORM = f"""
local function trim(text)
  local first, last = 1, #text
  while first <= last and (text:byte(first) == 32 or text:byte(first) == 9) do first = first + 1 end
  while last >= first and (text:byte(last) == 32 or text:byte(last) == 9) do last = last - 1 end
  return text:sub(first, last)
end

-- What a quoted text says that begins behind `at`, and where the text goes on.
local function quoted(text, at)
  local pieces = {{}}
  at = at + 1
  while true do
    local stop = text:find('["\\\\]', at)
    if not stop then return nil end
    pieces[#pieces + 1] = text:sub(at, stop - 1)
    if text:byte(stop) == 34 then
      return table.concat(pieces), text:match("^[ \\t]*()", stop + 1)
    end
    if stop == #text then return nil end
    pieces[#pieces + 1] = text:sub(stop + 1, stop + 1)
    at = stop + 2
  end
end

local function parameters(value)
  local found = {{}}
  local at = value:find(";", 1, true)
  while at and at <= #value do
    local name, given
    name, at = value:match("^([^=;]*)()", at + 1)
    if value:byte(at) == 61 then
      at = value:match("^[ \\t]*()", at + 1)
      if value:byte(at) == 34 then
        given, at = quoted(value, at)
        if not given then return nil end
      else
        given, at = value:match("^([^;]*)()", at)
        given = trim(given)
      end
    end
    name = trim(name):lower()
    if found[name] or (at <= #value and value:byte(at) ~= 59) then return nil end
    if name ~= "" then found[name] = given or "" end
  end
  return found
end

local function boundary_of(content_type)
  local named = parameters(content_type)
  local found = named and named.boundary or ""
  if found == "" or #found > {BOUNDARY_BYTES} or found:find("[^ -~]") or found:sub(-1) == " " then
    return nil
  end
  return found
end

-- The field whose value a part with these headers holds, empty for a file; nil: they are not well-formed.
local function field_name(block)
  local disposition
  local at = 1
  while at <= #block do
    local stop = block:find("\\r\\n", at, true) or #block + 1
    local line = block:sub(at, stop - 1)
    local colon = line:find(":", 1, true)
    if not colon or colon == 1 or line:find("^[ \\t]") or line:find("[%z\\r\\n]") then return nil end
    if line:sub(1, colon - 1):lower() == "content-disposition" then
      if disposition then return nil end
      disposition = line:sub(colon + 1)
    end
    at = stop + 2
  end
  if not disposition then return "" end
  local named = parameters(disposition)
  if not named then return nil end
  local kind = trim(disposition:match("^[^;]*")):lower()
  if kind ~= "form-data" or named.filename or named["filename*"] then return "" end
  return named.name or ""
end

-- The value of the only field `model`; nil and why not. Places in the body count from 0.
local function model_of(body, content_type)
  local boundary = boundary_of(content_type)
  if not boundary then return nil, "{BAD_BOUNDARY}" end
  local delimiter = "\\r\\n--" .. boundary
  local size = body and body:length() or 0
  local window, base = "", 0
  local seen = 0  -- lines that begin with the boundary: many of them would take long

  local function bytes(at, count)
    count = math.min(count, size - at)
    if count <= 0 then return "" end
    if at >= base and at + count <= base + #window then
      return window:sub(at - base + 1, at - base + count)
    end
    return body:getBytes(at, count)
  end

  -- Where a part begins whose delimiter goes on at `at`; -1 behind the last one; nil: it is no delimiter.
  local function behind(at)
    if bytes(at, 2) == "--" then return -1 end
    while true do
      local text = bytes(at, 256)
      local blanks = #text:match("^[ \\t]*")
      at = at + blanks
      if blanks < #text or text == "" then
        return bytes(at, 2) == "\\r\\n" and at + 2 or nil
      end
    end
  end

  -- Where the next delimiter begins, and the part behind it; nil: there is none any more.
  local function next_part(at)
    while at + #delimiter <= size do
      if at < base or at + #delimiter > base + #window then
        window, base = bytes(at, {WINDOW_BYTES}), at
      end
      local start = window:find(delimiter, at - base + 1, true)
      if start then
        seen = seen + 1
        start = base + start - 1
        at = start + #delimiter
        local part = behind(at)
        if part or seen > {MOST_PARTS} then return start, part end
      else
        at = base + #window - #delimiter + 1
      end
    end
  end

  local part
  if bytes(0, #delimiter - 2) == delimiter:sub(3) then part = behind(#delimiter - 2) end
  if not part then
    local _
    _, part = next_part(0)
  end
  local first, last
  for _ = 1, {MOST_PARTS} do
    if not part or part < 0 then break end
    local content, name = part + 2, ""
    if bytes(part, 2) ~= "\\r\\n" then
      local block = bytes(part, {PART_HEADERS_BYTES + 4})
      local stop = block:find("\\r\\n\\r\\n", 1, true)
      if not stop then
        if #block < {PART_HEADERS_BYTES + 4} then part = nil break end
        return nil, "{BAD_FORM}"
      end
      content, name = part + stop + 3, field_name(block:sub(1, stop - 1))
      if not name then return nil, "{BAD_FORM}" end
    end
    local stop
    stop, part = next_part(content)
    if name == "model" and stop then
      if first then return nil, "{TWICE}" end
      first, last = content, stop
    end
  end
  if seen > {MOST_PARTS} or (part and part >= 0) then return nil, "{BAD_FORM}" end
  if not first or first == last then return nil, "{NO_MODEL}" end
  return bytes(first, math.min(last - first, {MODEL_NAME_BYTES + 1}))
end
"""

_MAIN = f"""
-- The model's name; nil and why none was read; nothing where no body is meant to be read.
local function read(handle, headers)
  local parsed = headers:get("{READ_MARK}")
  if parsed then headers:remove("{READ_MARK}") end
  local name = headers:get("{headers.MODEL_NAME}")
  if name then return name end
  local method = headers:get(":method")
  if method ~= "POST" and method ~= "PUT" and method ~= "PATCH" then return nil end
  local content_type = headers:get("content-type") or ""
  local kind = trim(content_type:match("^[^;]*")):lower()
  if kind == "" then return nil, "{NO_TYPE}" end
  local encoding = (headers:get("content-encoding") or ""):lower()
  if encoding ~= "" and encoding ~= "identity" then return nil, "{COMPRESSED}" end
  if kind == "{FORM_TYPE}" then return model_of(handle:body(), content_type) end
  if not content_type:find("{JSON_TYPE}", 1, true) then return nil, "{OTHER_TYPE}" end
  return nil, parsed and "{NO_MODEL}" or "{BAD_JSON}"
end

-- Whether a header may hold it: UTF-8 without control characters, of a name's length.
local function usable(name)
  if #name > {MODEL_NAME_BYTES} or name:find("[%z\\1-\\31\\127]") then return false end
  local at = name:find("[\\128-\\255]")
  while at do
    local lead, second = name:byte(at, at + 1)
    local more = lead >= 240 and 3 or lead >= 224 and 2 or 1
    local least = lead == 224 and 160 or lead == 240 and 144 or 128
    local most = lead == 237 and 159 or lead == 244 and 143 or 191
    if lead < 194 or lead > 244 or not second or second < least or second > most then return false end
    if not name:find("^" .. ("[\\128-\\191]"):rep(more), at + 1) then return false end
    at = name:find("[\\128-\\255]", at + more + 1)
  end
  return true
end

-- Tables of base models, by version: reading one takes longer than a request.
local base_models, versions = {{}}, 0

local function base_of(handle, name)
  local context = handle:filterContext()
  local version = context:get("{VERSION}")
  if not version then return nil end
  local known = base_models[version]
  if not known then
    if versions >= {MOST_VERSIONS} then base_models, versions = {{}}, 0 end
    known = {{}}
    for adapter, base in context:get("{BASE_MODELS}"):gmatch("([^\\t\\n]+)\\t([^\\t\\n]+)\\n") do
      known[adapter] = base
    end
    base_models[version], versions = known, versions + 1
  end
  return known[name]
end

function envoy_on_request(handle)
  local name, why = read(handle, handle:headers())
  local headers = handle:headers()  -- those from before a body was waited for may not be used any more
  if name and not usable(name) then
    headers:remove("{headers.MODEL_NAME}")
    name, why = nil, "{BAD_NAME}"
  end
  if name then
    headers:replace("{headers.MODEL_NAME}", name)
    local base = base_of(handle, name)
    if base then headers:replace("{headers.BASE_MODEL_NAME}", base) end
  elseif why then
    handle:streamInfo():dynamicMetadata():set("{NAMESPACE}", "{UNREAD}", why)
  else
    return
  end
  handle:clearRouteCache()
end
"""

SCRIPT = _FORM + _MAIN
