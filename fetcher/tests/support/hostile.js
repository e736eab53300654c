#!/usr/bin/env node
// Takes the place of bw and tries everything that malware in it would. What
// came of each attempt goes to the one directory that it may write to.
'use strict';
const child = require('child_process');
const dgram = require('dgram');
const dns = require('dns').promises;
const fs = require('fs');
const http = require('http');
const net = require('net');
const path = require('path');

const own = process.env.BITWARDENCLI_APPDATA_DIR;
const plan = JSON.parse(fs.readFileSync(path.join(path.dirname(__filename), 'plan.json')));

const soon = (promise) =>
	Promise.race([promise, new Promise((_, no) => setTimeout(no, 3000, new Error('no answer')))]);
const connect = (options) =>
	soon(new Promise((yes, no) => {
		const socket = net.connect(options, () => { socket.destroy(); yes(); });
		socket.on('error', no);
	}));
const echo = () =>
	soon(new Promise((yes, no) => {
		const socket = dgram.createSocket('udp4');
		socket.on('message', () => { socket.close(); yes(); });
		socket.on('error', no);
		socket.send('x', plan.udp, '127.0.0.1', (error) => error && no(error));
	}));
const relay = (target) =>
	soon(new Promise((yes, no) => {
		const { hostname, port } = new URL(process.env.https_proxy);
		const request = http.request({ host: hostname, port, method: 'CONNECT', path: target });
		request.on('connect', (answer, socket) => {
			socket.destroy();
			if (answer.statusCode === 200) yes(); else no(new Error(answer.statusCode));
		});
		request.on('error', no);
		request.end();
	}));

const attempts = {
	'tcp to the host': () => connect({ host: '127.0.0.1', port: plan.tcp }),
	'tcp to the world': () => connect({ host: '192.0.2.1', port: 443 }),
	'udp': echo,
	'dns': () => soon(dns.resolve4('example.com')),
	'unix socket by path': () => connect({ path: plan.unix }),
	'unix socket without a path': () => connect({ path: '\0' + plan.abstract }),
	'relay to another host': () => relay('example.com:443'),
	'relay to another port': () => relay('localhost:' + plan.tcp),
	'read /etc/passwd': () => fs.readFileSync('/etc/passwd'),
	'read another file': () => fs.readFileSync(plan.file),
	'list the host': () => fs.readdirSync(path.dirname(plan.file)),
	'find a program': () => fs.statSync('/usr/bin/env'),
	'run a program': () => child.execFileSync('/bin/sh', ['-c', 'exit']),
	'see processes': () => fs.readFileSync(`/proc/${plan.pid}/cmdline`),
	'kill': () => process.kill(plan.victim, 'SIGKILL'),
	'write elsewhere': () => fs.writeFileSync(plan.target, 'x'),
	'change a date elsewhere': () => fs.utimesSync(plan.file, 1, 1),
	'listen elsewhere': () =>
		soon(new Promise((yes, no) => {
			const server = net.createServer().on('error', no);
			server.listen(plan.door, () => { server.close(); yes(); });
		})),
	'write to its program': () => fs.appendFileSync(__filename, '\n'),
};
// In the control it would succeed, and stay.
if (!process.argv.includes('--control')) attempts['write to the root'] = () => fs.writeFileSync('/x', 'x');

(async () => {
	const found = { attempts: {}, environment: Object.keys(process.env).sort() };
	for (const [name, attempt] of Object.entries(attempts)) {
		try {
			await attempt();
			found.attempts[name] = 'succeeded';
		} catch (error) {
			found.attempts[name] = String(error.code || error.message);
		}
	}
	const control = process.argv.includes('--control');
	fs.writeFileSync(control ? plan.control : path.join(own, 'found.json'), JSON.stringify(found));
	// Its directory is gone with it.
	const end = () => (control || fs.existsSync(path.join(own, 'read')) ? process.exit(1) : setTimeout(end, 50));
	end();
})();
