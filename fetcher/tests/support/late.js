// The real bw, which a busy machine makes slow: what it reads again of the
// items that it has just stored comes late. Its locks take no time, so that
// nothing else is late.
'use strict';
const path = require('path');
const Module = require('module');
const load = Module._load;
const LATE = 2000;
let owed = 0;

const open = (lowdb) => (adapter) => {
	const db = lowdb(adapter);
	const { get, set } = db;
	const items = (key) => key.endsWith('_ciphers_ciphers');
	db.set = (key, value) => {
		if (items(key)) owed = 1;
		return set.call(db, key, value);
	};
	db.get = (key) => {
		if (!items(key) || owed === 0) return get.call(db, key);
		owed -= 1;
		const read = () => db.read().get(key).value();
		return { value: () => new Promise((done) => setTimeout(() => done(read()), LATE)) };
	};
	return db;
};

Module._load = function (name, ...rest) {
	const module = load.call(this, name, ...rest);
	if (!process.argv.includes('serve')) return module;
	switch (name) {
		case 'lowdb': return open(module);
		case 'proper-lockfile': return { ...module, lock: async () => async () => {} };
		default: return module;
	}
};
require(path.join(__dirname, '@bitwarden/cli/build/bw.js'));
