// Keeps a page of ours as the server has it: asks for the same page again, and changes in place what differs.
(function () {
  "use strict";

  var content = document.getElementById("relay-content");
  var words = document.getElementById("relay-live-words");
  var dot = document.querySelector("#relay-live-status .status-dot");
  var pause = document.getElementById("relay-pause");
  var everyMs = 1000 * Number(content.dataset.live || 2);
  var paused = false;
  var timer = 0;
  // What a person does to a page stays as it is.
  var OWN = { open: true };

  function say(text, kind) {
    if (words.textContent !== text) {
      words.textContent = text;
    }
    dot.className = "status-dot" + (kind ? " status-dot-" + kind : "");
  }

  function attributes(from, to) {
    Array.from(from.attributes).forEach(function (each) {
      if (!to.hasAttribute(each.name) && !OWN[each.name]) {
        from.removeAttribute(each.name);
      }
    });
    Array.from(to.attributes).forEach(function (each) {
      if (from.getAttribute(each.name) !== each.value && !OWN[each.name]) {
        from.setAttribute(each.name, each.value);
      }
    });
  }

  function keyOf(node) {
    // Not node.id: a form with a field of that name answers with the field.
    return node.nodeType === 1 ? node.getAttribute("data-key") || node.getAttribute("id") || "" : "";
  }

  function alike(one, other) {
    return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
  }

  function change(from, to) {
    if (from.nodeType !== 1) {
      if (from.nodeValue !== to.nodeValue) {
        from.nodeValue = to.nodeValue;
      }
      return;
    }
    attributes(from, to);
    var keyed = {};
    Array.from(from.children).forEach(function (child) {
      if (child.hasAttribute("data-key")) {
        keyed[child.nodeName + child.getAttribute("data-key")] = child;
      }
    });
    var at = from.firstChild;
    Array.from(to.childNodes).forEach(function (wanted) {
      var known = wanted.nodeType === 1 && wanted.hasAttribute("data-key") ?
        keyed[wanted.nodeName + wanted.getAttribute("data-key")] : null;
      if (known && known !== at) {
        from.insertBefore(known, at);
        at = known;
      }
      if (at && alike(at, wanted)) {
        var next = at.nextSibling;
        change(at, wanted);
        at = next;
      } else {
        from.insertBefore(document.importNode(wanted, true), at);
      }
    });
    while (at) {
      var gone = at;
      at = at.nextSibling;
      from.removeChild(gone);
    }
  }

  function later(afterMs) {
    window.clearTimeout(timer);
    timer = window.setTimeout(ask, afterMs);
  }

  function ask() {
    if (paused || document.hidden) {
      return;
    }
    var began = performance.now();
    // With its origin: where the address of the page has a password in it, fetch takes no relative one.
    fetch(window.location.origin + window.location.pathname + window.location.search, { credentials: "same-origin", cache: "no-store" }).then(function (answer) {
      if (!answer.ok && answer.status !== 503) {
        throw new Error(String(answer.status));
      }
      return answer.text().then(function (text) {
        var page = new DOMParser().parseFromString(text, "text/html");
        var fresh = page.getElementById("relay-content");
        if (paused || !fresh) {
          return;
        }
        change(content, fresh);
        change(document.querySelector(".relay-header > div"), page.querySelector(".relay-header > div"));
        say(answer.ok ? "Live" : "The ledger does not answer", answer.ok ? "live" : "error");
      });
    }).catch(function () {
      say("Not connected: these figures are old", "error");
    }).then(function () {
      // What is dear is asked for seldom.
      later(Math.max(everyMs, 10 * (performance.now() - began)));
    });
  }

  pause.hidden = false;
  pause.addEventListener("click", function () {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    say(paused ? "Paused" : "Live", paused ? "" : "live");
    if (!paused) {
      ask();
    }
  });
  document.addEventListener("visibilitychange", function () {
    if (!document.hidden) {
      ask();
    }
  });
  var said = document.getElementById("said");
  if (said) {
    said.focus();
    // A page that is loaded again says it no more.
    var address = new URL(window.location.href);
    address.searchParams.delete("said");
    address.hash = "";
    window.history.replaceState(null, "", address.pathname + address.search);
  }
  say("Live", "live");
  later(everyMs);
}());
