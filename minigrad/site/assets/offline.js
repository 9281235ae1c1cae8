// Keeps the folder's files after the first visit. A new build has another version, and takes the place of the old one.
const VERSION = "VERSION";
const FILES = ["FILES"];

addEventListener("install", (event) => event.waitUntil(caches.open(VERSION).then((kept) => kept.addAll(FILES))));
addEventListener("activate", (event) =>
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter((n) => n !== VERSION).map((n) => caches.delete(n))))));
addEventListener("fetch", (event) => event.respondWith(caches.match(event.request).then((kept) => kept ?? fetch(event.request))));
