#!/usr/bin/env node
// Takes the place of bw for what the real one cannot be made to do. The
// collection's name says what goes wrong with its items.
'use strict';
const fs = require('fs');
const http = require('http');
const net = require('net');
const path = require('path');

const store = path.join(process.env.BITWARDENCLI_APPDATA_DIR, 'data.json');
const args = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
const say = (data) => JSON.stringify({ success: true, data });
const list = (data) => say({ object: 'list', data });
const names = ['good', 'empty-first', 'never-twice', 'garbage', 'cut', 'flood', 'hang', 'crash', 'stray', 'locked-once', 'lost', 'late'];
const collections = names.map((name) => ({ id: name, name }));
const item = (name, collection) => ({
	id: name, name, type: 1, collectionIds: [collection], passwordHistory: [], login: { password: 'value' },
});

// What bw serve has stored: one item in each collection, and one that it never lists.
const save = () => {
	const stored = JSON.parse(fs.readFileSync(store));
	const entry = (id, collectionIds) => [id, { id, type: 1, collectionIds }];
	stored.user_1_ciphers_ciphers = Object.fromEntries([entry('KEY', names), entry('LOST', ['lost'])]);
	stored.user_1_collection_collections = Object.fromEntries(names.map((name) => [name, { name: 'encrypted' }]));
	fs.writeFileSync(store, JSON.stringify(stored));
};

// How long each command takes, and each answer about `late`, in milliseconds.
const TAKES = { command: 0, late: 0 };
const pause = (time) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, time);

let asked = 0;
let open = false;
const items = (collection, answer) => {
	asked += 1;
	const good = list([item('KEY', collection)]);
	switch (collection) {
		case 'empty-first': return answer.end(asked === 1 ? list([]) : good);
		case 'never-twice': return answer.end(list([item('KEY_' + asked, collection)]));
		case 'garbage': return answer.end('<html>');
		case 'cut': return answer.end(good.slice(0, -2));
		case 'locked-once':
			if (fs.existsSync(store + '.was-locked')) return answer.end(good);
			fs.writeFileSync(store + '.was-locked', '');
			answer.statusCode = 400;
			return answer.end('{"success":false,"message":"Vault is locked."}');
		case 'hang': return undefined;
		case 'late': return setTimeout(() => answer.end(good), TAKES.late);
		case 'crash': return process.exit(1);
		case 'stray': return answer.end(list([item('KEY', collection), item('OTHER', 'good')]));
		case 'flood': {
			const more = () => { while (answer.write('x'.repeat(1 << 20))); };
			answer.on('drain', more);
			return more();
		}
		default: return answer.end(good);
	}
};

const serve = () => {
	save();
	const server = http.createServer((request, answer) => {
		const url = new URL(request.url, 'http://localhost');
		switch (url.pathname) {
			case '/status': return answer.end(say({ template: { serverUrl: JSON.parse(fs.readFileSync(store)).server } }));
			case '/unlock': open = true; answer.statusCode = 500; return answer.end('Internal Server Error');
			case '/sync': return answer.end(open ? say({}) : '{"success":false,"message":"Vault is locked."}');
			case '/list/object/collections':
				return answer.end(open ? list(collections) : '{"success":false,"message":"Vault is locked."}');
			default: return items(url.searchParams.get('collectionid'), answer);
		}
	});
	const socket = new net.Socket({ fd: 0, readable: true, writable: true });
	server.emit('connection', socket);
};

pause(TAKES.command);
if (args[0] === 'config') {
	const server = args[2].endsWith('/other') ? 'https://other.example' : args[2];
	fs.writeFileSync(store, JSON.stringify({ server }));
	console.log(say({ object: 'message' }));
} else if (args[0] === 'login') {
	console.log(say({ object: 'message' }));
} else if (args[0] === 'serve') {
	serve();
} else {
	console.log('0.0.1-stand-in');
}
