/* ---- view/points.c: points in the plane as one HTML page to explore ---------------------------- */

static const char *const itp_points_style[] = {
    "<style>\n"
    ":root{color-scheme:light dark;--paper:#f6f7f9;--card:#fff;--ink:#1d2129;--soft:#5d6675;\n"
    "--line:#cfd5de;--link:#0b5cad;--plot:#fff}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#14171c;--card:#1d2128;--ink:#e7eaf0;\n"
    "--soft:#9aa4b4;--line:#3a424f;--link:#7db8f7;--plot:#181c22}}\n"
    "*{box-sizing:border-box}\n"
    "[hidden]{display:none!important}\n"
    "html,body{height:100%}\n"
    "body{margin:0;display:flex;flex-direction:column;background:var(--paper);color:var(--ink);\n"
    "font:15px/1.45 system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\n"
    "header{padding:14px 20px 2px}\n"
    "h1{margin:0;font-size:1.4rem;line-height:1.2;overflow-wrap:anywhere}\n"
    "header p{margin:.2rem 0 0;color:var(--soft);overflow-wrap:anywhere}\n"
    "form{display:flex;flex-wrap:wrap;gap:8px 14px;align-items:end;padding:10px 20px;\n"
    "border-bottom:1px solid var(--line)}\n"
    "label{display:grid;gap:2px;color:var(--soft);font-size:.82rem}\n"
    "label.tick{display:flex;align-items:center;gap:5px;padding-bottom:5px}\n"
    "select,button,input[type=search]{font:inherit;font-size:.92rem;color:var(--ink);\n"
    "background:var(--card);border:1px solid var(--line);border-radius:6px;padding:3px 8px;\n"
    "max-width:13rem}\n"
    "button{cursor:pointer}\n"
    ".modes [aria-pressed=true]{background:var(--link);border-color:var(--link);color:var(--card)}\n"
    ".modes{display:flex;gap:4px}\n"
    "input[type=range]{width:90px}\n"
    "main{flex:1;min-height:280px;display:grid;grid-template-columns:1fr auto}\n"
    "#plot{position:relative;min-height:280px;background:var(--plot);overflow:hidden}\n"
    "#plot canvas{position:absolute;inset:0;width:100%;height:100%}\n"
    "#over{touch-action:none;cursor:grab}\n"
    "#over:focus-visible{outline:3px solid var(--link);outline-offset:-3px}\n"
    "#side{width:15rem;max-height:100%;overflow:auto;padding:10px 14px;\n"
    "border-left:1px solid var(--line)}\n"
    "#side h2{margin:0 0 6px;font-size:.95rem}\n"
    "#legend button{display:flex;width:100%;max-width:none;gap:8px;align-items:center;border:0;\n"
    "background:none;padding:2px 4px;text-align:left;overflow-wrap:anywhere}\n"
    "#legend button[aria-pressed=false]{opacity:.4;text-decoration:line-through}\n"
    "#legend i{flex:none;width:12px;height:12px;border-radius:6px}\n"
    "#legend small{margin-left:auto;color:var(--soft)}\n"
    "#legend canvas{width:100%;height:14px;border-radius:3px}\n"
    "#legend div{display:flex;justify-content:space-between;color:var(--soft)}\n"
    "#tip{position:absolute;z-index:3;pointer-events:none;max-width:18rem;padding:8px 10px;\n"
    "background:var(--card);border:1px solid var(--line);border-radius:8px;\n"
    "box-shadow:0 3px 14px rgba(0,0,0,.25);font-size:.85rem}\n"
    "#tip[hidden]{display:none}\n"
    "dl{display:grid;grid-template-columns:auto 1fr;gap:0 10px;margin:4px 0 0}\n"
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\n"
    ".thumb{background-repeat:no-repeat;image-rendering:pixelated;border-radius:4px}\n"
    "footer{display:flex;flex-wrap:wrap;gap:6px 18px;padding:6px 20px;color:var(--soft);\n"
    "font-size:.85rem;border-top:1px solid var(--line)}\n"
    "#picked{max-height:34vh;overflow:auto;padding:6px 20px 12px;border-top:1px solid var(--line)}\n"
    "#picked[hidden]{display:none}\n"
    "#picked p{display:flex;gap:10px;align-items:center;margin:2px 0 8px}\n"
    "table{border-collapse:collapse;font-size:.85rem}\n"
    "th,td{padding:2px 12px 2px 0;text-align:left;border-bottom:1px solid var(--line)}\n"
    "th{color:var(--soft);font-weight:600}\n"
    "@media(max-width:700px){main{grid-template-columns:1fr;grid-template-rows:1fr auto}\n",
    "#side{width:auto;max-height:9rem;border-left:0;border-top:1px solid var(--line)}}\n"
    "</style>\n"};

/* Draws by WebGL or a plain canvas, finds the point under the pointer by a grid of buckets, and keeps
   tables of what is chosen. No name in it leaves the page: it asks the network for nothing. */
static const char *const itp_points_script[] = {
    "<script>\n"
    "'use strict';\n"
    "const $=id=>document.getElementById(id),D=JSON.parse($('data').textContent),n=D.n;\n"
    "const raw=s=>{const b=atob(s),a=new Uint8Array(b.length);\n"
    "for(let i=0;i<a.length;i++)a[i]=b.charCodeAt(i);return a.buffer};\n"
    "const quantised=new Uint16Array(raw(D.xy)),X=new Float32Array(n),Y=new Float32Array(n);\n"
    "for(let i=0;i<n;i++){const x=quantised[2*i],y=quantised[2*i+1];\n"
    "X[i]=x===65535?NaN:x/65534-.5;Y[i]=x===65535?NaN:y/65534-.5}\n"
    "D.columns.forEach(c=>{if(c.kind==='class')c.of=new Uint16Array(raw(c.data));\n"
    "if(c.kind==='value'){c.of=new Float32Array(raw(c.data));c.low=Infinity;c.high=-Infinity;\n"
    "for(const v of c.of)if(isFinite(v)){c.low=Math.min(c.low,v);c.high=Math.max(c.high,v)}}});\n"
    "const marked=D.marked?new Uint8Array(raw(D.marked)):new Uint8Array(n);\n"
    "const short=v=>isFinite(v)?String(+v.toPrecision(5)):'';\n"
    "const text=(c,i)=>c.kind==='class'?(c.of[i]===65535?'':c.names[c.of[i]]):\n"
    "c.kind==='value'?short(c.of[i]):c.texts[i];\n"
    "const over=$('over'),plot=$('plot'),tip=$('tip'),say=$('say');\n"
    "let W=1,H=1,ratio=1,zoom=1,cx=0,cy=0,hover=-1,colour=D.colour,mode='pan',drag=null,dirty=true;\n"
    "let hidden=new Set(),query='',only=false,matches=n;\n"
    "const shown=new Uint8Array(n),picked=new Uint8Array(n),rgba=new Uint8Array(4*n);\n"
    "const flags=new Uint8Array(4*n);\n"
    "const scale=()=>Math.min(W,H)*.92*zoom;\n"
    "const px=i=>W/2+(X[i]-cx)*scale(),py=i=>H/2-(Y[i]-cy)*scale();\n"
    "// a grid of buckets finds the point under the pointer\n"
    "const G=Math.max(8,Math.min(512,Math.ceil(Math.sqrt(n/2)))),first=new Uint32Array(G*G+1);\n"
    "const order=new Uint32Array(n),cell=v=>Math.max(0,Math.min(G-1,Math.floor((v+.5)*G)));\n"
    "(()=>{const at=new Int32Array(n);for(let i=0;i<n;i++){at[i]=isNaN(X[i])?-1:\n"
    "cell(Y[i])*G+cell(X[i]);if(at[i]>=0)first[at[i]+1]++}\n"
    "for(let k=0;k<G*G;k++)first[k+1]+=first[k];const next=first.slice();\n"
    "for(let i=0;i<n;i++)if(at[i]>=0)order[next[at[i]]++]=i})();\n"
    "function nearest(x,y){const r=14,s=scale(),u=(x-W/2)/s+cx,v=(H/2-y)/s+cy,d=r/s;\n"
    "let best=-1,least=r*r;\n"
    "for(let b=cell(v-d);b<=cell(v+d);b++)for(let a=cell(u-d);a<=cell(u+d);a++){\n"
    "const k=b*G+a;for(let j=first[k];j<first[k+1];j++){const i=order[j];if(!shown[i])continue;\n"
    "const q=(px(i)-x)**2+(py(i)-y)**2;if(q<least){least=q;best=i}}}return best}\n"
    "// colours\n"
    "const css=c=>'rgb('+c.join()+')';\n"
    "const hex=s=>[1,3,5].map(k=>parseInt(s.slice(k,k+2),16));\n"
    "const palette=D.palette.map(hex),ramp=D.ramp.map(hex),grey=[150,150,150];\n"
    "function shade(c,i){if(!c)return palette[0];\n"
    "if(c.kind==='class')return c.of[i]===65535?grey:palette[c.of[i]%palette.length];\n"
    "if(c.kind==='value'){const v=c.of[i];if(!isFinite(v))return grey;\n"
    "const t=(c.high>c.low?(v-c.low)/(c.high-c.low):0)*(ramp.length-1),k=Math.min(ramp.length-2,\n"
    "Math.floor(t));return ramp[k].map((a,j)=>Math.round(a+(ramp[k+1][j]-a)*(t-k)))}\n"
    "return palette[0]}\n"
    "function restyle(){const c=D.columns[colour],q=query.toLowerCase(),alpha=255*$('alpha').value;\n"
    "matches=0;let seen=0;\n"
    "for(let i=0;i<n;i++){const off=isNaN(X[i])||(only&&!marked[i])||\n"
    "(c&&c.kind==='class'&&hidden.has(c.of[i]));shown[i]=off?0:1;\n"
    "const hit=!off&&(!q||('#'+i)===q||D.columns.some(k=>text(k,i).toLowerCase().includes(q)));\n"
    "matches+=hit;seen+=!off;const s=shade(c,i);\n"
    "rgba.set([s[0],s[1],s[2],off?0:hit?alpha:Math.min(alpha,24)],4*i);\n"
    "flags[4*i]=marked[i]&&$('rings').checked?255:0;flags[4*i+1]=picked[i]?255:0}\n",
    "say.textContent=(q?matches+' found, ':'')+seen+' of '+n+' points shown';\n"
    "view.update();draw()}\n"
    "// drawing: WebGL, or a plain canvas where there is none\n"
    "const view=(()=>{const canvas=$('points'),gl=D.plain?null:\n"
    "canvas.getContext('webgl',{antialias:false,premultipliedAlpha:true}),\n"
    "flat=c=>{const g=c.getContext('2d');return{name:'canvas',"
    "update(){},\n"
    "draw(){g.setTransform(ratio,0,0,ratio,0,0);g.clearRect(0,0,W,H);paint(g)}}};\n"
    "if(!gl)return flat(canvas);\n"
    "const make=(kind,code)=>{const s=gl.createShader(kind);gl.shaderSource(s,code);\n"
    "gl.compileShader(s);gl.attachShader(program,s)},program=gl.createProgram();\n"
    "make(gl.VERTEX_SHADER,'attribute vec2 at;attribute vec4 tint,flag;uniform vec4 view;'+\n"
    "'uniform mediump float size;varying mediump vec4 c,f;void main(){c=tint;f=flag;'+\n"
    "'gl_Position=tint.a>0.?vec4((at-view.xy)*view.zw,0,1):vec4(2,2,2,1);'+\n"
    "'gl_PointSize=size*(flag.x+flag.y>0.?1.7:1.);}');\n"
    "make(gl.FRAGMENT_SHADER,'precision mediump float;varying vec4 c,f;'+'uniform float size;'+\n"
    "'void main(){float d=2.*length(gl_PointCoord-.5);'+\n"
    "'float a=c.a*(1.-smoothstep(1.-2./size,1.,d));vec3 t=c.rgb;'+\n"
    "'if(f.x>0.&&d>.6)t=vec3(.85,.05,.1);if(f.y>0.&&d>.72)t=vec3(0.);'+\n"
    "'if(a<=0.)discard;gl_FragColor=vec4(t*a,a);}');\n"
    "gl.linkProgram(program);if(!gl.getProgramParameter(program,gl.LINK_STATUS)){\n"
    "const c=canvas.cloneNode();canvas.replaceWith(c);return flat(c)}\n"
    "gl.useProgram(program);const buffers={};\n"
    "const bind=(name,k,type,norm)=>{const b=gl.createBuffer(),l=gl.getAttribLocation(program,name);\n"
    "gl.bindBuffer(gl.ARRAY_BUFFER,b);gl.enableVertexAttribArray(l);\n"
    "gl.vertexAttribPointer(l,k,type,norm,0,0);buffers[name]=b};\n"
    "const xy=new Float32Array(2*n);for(let i=0;i<n;i++){xy[2*i]=X[i]||0;xy[2*i+1]=Y[i]||0}\n"
    "bind('at',2,gl.FLOAT,false);gl.bufferData(gl.ARRAY_BUFFER,xy,gl.STATIC_DRAW);\n"
    "bind('tint',4,gl.UNSIGNED_BYTE,true);bind('flag',4,gl.UNSIGNED_BYTE,true);\n"
    "gl.enable(gl.BLEND);gl.blendFunc(gl.ONE,gl.ONE_MINUS_SRC_ALPHA);\n"
    "const put=(name,data)=>{gl.bindBuffer(gl.ARRAY_BUFFER,buffers[name]);\n"
    "gl.bufferData(gl.ARRAY_BUFFER,data,gl.DYNAMIC_DRAW)};\n"
    "const uniform=name=>gl.getUniformLocation(program,name);\n"
    "return{name:'webgl',update(){put('tint',rgba);put('flag',flags)},\n"
    "draw(){gl.viewport(0,0,canvas.width,canvas.height);gl.clearColor(0,0,0,0);\n"
    "gl.clear(gl.COLOR_BUFFER_BIT);const s=scale();\n"
    "gl.uniform4f(uniform('view'),cx,cy,2*s/W,2*s/H);\n"
    "gl.uniform1f(uniform('size'),2*radius()*ratio);gl.drawArrays(gl.POINTS,0,n)}}})();\n"
    "const radius=()=>$('size').value/2;\n"
    "// all points on a plain canvas, for that and for pictures\n"
    "function paint(g){const r=radius(),many=n>30000;for(let i=0;i<n;i++){const a=rgba[4*i+3];\n"
    "if(!a)continue;const x=px(i),y=py(i);if(x<-9||y<-9||x>W+9||y>H+9)continue;\n"
    "g.globalAlpha=a/255;g.fillStyle=css([rgba[4*i],rgba[4*i+1],rgba[4*i+2]]);\n"
    "if(many)g.fillRect(x-r,y-r,2*r,2*r);else{g.beginPath();g.arc(x,y,r,0,7);g.fill()}\n"
    "if(flags[4*i]||flags[4*i+1]){g.strokeStyle=flags[4*i+1]?'#000':'#d90d1a';g.lineWidth=1.5;\n"
    "g.beginPath();g.arc(x,y,r+1.5,0,7);g.stroke()}}g.globalAlpha=1}\n"
    "function draw(){dirty=true;requestAnimationFrame(()=>{if(!dirty)return;dirty=false;\n"
    "view.draw();const g=over.getContext('2d');g.setTransform(ratio,0,0,ratio,0,0);\n"
    "g.clearRect(0,0,W,H);g.strokeStyle=getComputedStyle(plot).color;g.lineWidth=2;\n"
    "if(hover>=0){g.beginPath();g.arc(px(hover),py(hover),radius()+4,0,7);g.stroke()}\n"
    "if(drag&&drag.path){g.setLineDash([5,4]);g.lineWidth=1.5;g.beginPath();\n",
    "if(mode==='box'){const[a,b]=[drag.path[0],drag.path[drag.path.length-1]];\n"
    "g.rect(a[0],a[1],b[0]-a[0],b[1]-a[1])}else drag.path.forEach((p,k)=>\n"
    "k?g.lineTo(p[0],p[1]):g.moveTo(p[0],p[1]));g.stroke();g.setLineDash([])}})}\n"
    "function resize(){const r=plot.getBoundingClientRect();W=Math.max(1,r.width);\n"
    "H=Math.max(1,r.height);ratio=window.devicePixelRatio||1;\n"
    "for(const c of[$('points'),over]){c.width=Math.round(W*ratio);c.height=Math.round(H*ratio)}\n"
    "draw()}\n"
    "// what is known of a point\n"
    "function thumb(i,most){const t=D.thumb;if(!t)return null;const e=document.createElement('div');\n"
    "const k=Math.max(1,Math.floor(most/Math.max(t.width,t.height)));e.className='thumb';\n"
    "e.style.cssText='width:'+t.width*k+'px;height:'+t.height*k+'px;background-image:url('+\n"
    "$('sprite').src+');background-size:'+t.width*k*t.columns+'px auto;background-position:-'+\n"
    "(i%t.columns)*t.width*k+'px -'+Math.floor(i/t.columns)*t.height*k+'px';return e}\n"
    "function describe(i){const list=document.createElement('dl');\n"
    "const add=(a,b)=>{const t=document.createElement('dt'),d=document.createElement('dd');\n"
    "t.textContent=a;d.textContent=b;list.append(t,d)};add('index',i);\n"
    "D.columns.forEach(c=>add(c.name,text(c,i)));if(marked[i])add('',D.marked_name);return list}\n"
    "function show(i,speak){if(i===hover&&!speak)return;hover=i;draw();tip.hidden=i<0;if(i<0)return;\n"
    "const t=thumb(i,112);tip.replaceChildren(...(t?[t]:[]),describe(i));\n"
    "const x=px(i)+16,y=py(i)+12,b=tip.getBoundingClientRect();\n"
    "tip.style.left=Math.max(2,x+b.width>W?px(i)-16-b.width:x)+'px';\n"
    "tip.style.top=Math.max(2,Math.min(y,H-b.height-4))+'px';\n"
    "if(speak)say.textContent='Point '+i+': '+D.columns.map(c=>c.name+' '+text(c,i)).join(', ')}\n"
    "// selection: a table and CSV\n"
    "function pick(inside,add){let count=0;for(let i=0;i<n;i++){\n"
    "if(!add)picked[i]=0;if(shown[i]&&inside(i))picked[i]=1;count+=picked[i]}\n"
    "$('picked').hidden=!count;$('count').textContent=count+' selected';\n"
    "const body=$('rows');body.replaceChildren();const head=document.createElement('tr');\n"
    "['','index',...D.columns.map(c=>c.name)].forEach((t,k)=>{if(!k&&!D.thumb)return;\n"
    "const h=document.createElement('th');h.textContent=t;head.append(h)});body.append(head);\n"
    "for(let i=0,rows=0;i<n&&rows<100;i++){if(!picked[i])continue;rows++;\n"
    "const r=document.createElement('tr');if(D.thumb){const d=document.createElement('td');\n"
    "d.append(thumb(i,28));r.append(d)}\n"
    "[i,...D.columns.map(c=>text(c,i))].forEach(t=>{const d=document.createElement('td');\n"
    "d.textContent=t;r.append(d)});body.append(r)}\n"
    "if(count>100){const r=document.createElement('tr'),d=document.createElement('td');\n"
    "d.colSpan=9;d.textContent='and '+(count-100)+' more: export them all as CSV';\n"
    "r.append(d);body.append(r)}restyle();resize()}\n"
    "function csv(){const q=s=>/[\",\\n]/.test(s)?'\"'+s.replace(/\"/g,'\"\"')+'\"':s;\n"
    "const lines=[['index','x','y',...D.columns.map(c=>c.name)].map(q).join()];\n"
    "for(let i=0;i<n;i++)if(picked[i])lines.push([i,short(D.low[0]+(X[i]+.5)*D.span),\n"
    "short(D.low[1]+(Y[i]+.5)*D.span),...D.columns.map(c=>q(text(c,i)))].join());\n"
    "return lines.join('\\n')+'\\n'}\n"
    "function save(name,blob){const a=document.createElement('a');a.href=URL.createObjectURL(blob);\n"
    "a.download=name;a.click();setTimeout(()=>URL.revokeObjectURL(a.href),9000)}\n"
    "function picture(){const c=document.createElement('canvas'),k=2,c0=D.columns[colour];\n",
    "const wide=c0&&c0.kind==='class'?190:0;c.width=(W+wide)*k;c.height=(H+44)*k;\n"
    "const g=c.getContext('2d');g.scale(k,k);g.fillStyle='#fff';g.fillRect(0,0,W+wide,H+44);\n"
    "g.fillStyle='#1d2129';g.font='600 17px system-ui,sans-serif';g.fillText(D.title,14,28);\n"
    "g.save();g.translate(0,44);g.beginPath();g.rect(0,0,W,H);g.clip();paint(g);g.restore();\n"
    "if(wide){g.font='13px system-ui,sans-serif';c0.names.slice(0,Math.floor(H/20)).forEach(\n"
    "(t,j)=>{g.fillStyle=css(palette[j%palette.length]);g.beginPath();\n"
    "g.arc(W+12,58+20*j,5,0,7);g.fill();g.fillStyle='#1d2129';g.fillText(t,W+24,62+20*j,160)})}\n"
    "return c}\n"
    "// the legend\n"
    "function legend(){const c=D.columns[colour],box=$('legend');box.replaceChildren();\n"
    "$('named').textContent=c?c.name:'';if(!c)return;\n"
    "if(c.kind==='class'){const count=new Map();for(const v of c.of)count.set(v,(count.get(v)||0)+1);\n"
    "[...count.keys()].sort((a,b)=>a-b).forEach(v=>{const b=document.createElement('button'),\n"
    "i=document.createElement('i'),t=document.createElement('span'),\n"
    "s=document.createElement('small');b.type='button';\n"
    "b.setAttribute('aria-pressed',!hidden.has(v));b.title='hide or show; with Shift: only this';\n"
    "i.style.background=css(v===65535?grey:palette[v%palette.length]);\n"
    "t.textContent=v===65535?'unknown':c.names[v];s.textContent=count.get(v);b.append(i,t,s);\n"
    "b.onclick=e=>{const others=[...count.keys()].filter(k=>k!==v);\n"
    "if(e.shiftKey)hidden=others.every(k=>hidden.has(k))?new Set():new Set(others);\n"
    "else if(!hidden.delete(v))hidden.add(v);legend();restyle()};box.append(b)})}\n"
    "else if(c.kind==='value'){const bar=document.createElement('canvas'),\n"
    "ends=document.createElement('div');bar.width=256;bar.height=1;const g=bar.getContext('2d');\n"
    "for(let k=0;k<256;k++){g.fillStyle=css(shade({kind:'value',of:[k],low:0,high:255},0));\n"
    "g.fillRect(k,0,1,1)}ends.innerHTML='<span></span><span></span>';\n"
    "ends.firstChild.textContent=short(c.low);ends.lastChild.textContent=short(c.high);\n"
    "box.append(bar,ends)}else box.textContent='texts have no colours; they can be searched'}\n"
    "// pointer, wheel, keys\n"
    "const where=e=>{const r=over.getBoundingClientRect();return[e.clientX-r.left,e.clientY-r.top]};\n"
    "function zoom_at(x,y,f){const s=scale(),u=(x-W/2)/s+cx,v=(H/2-y)/s+cy;\n"
    "zoom=Math.max(.2,Math.min(4000,zoom*f));cx=u-(x-W/2)/scale();cy=v-(H/2-y)/scale();\n"
    "tip.hidden=true;hover=-1;draw()}\n"
    "function reset(){zoom=1;cx=cy=0;draw()}\n"
    "over.onwheel=e=>{e.preventDefault();const[x,y]=where(e);zoom_at(x,y,Math.exp(-e.deltaY*.0015))};\n"
    "over.onpointerdown=e=>{try{over.setPointerCapture(e.pointerId)}catch(x){}\n"
    "const p=where(e);drag={from:p,cx,cy,path:mode==='pan'?null:[p],add:e.shiftKey};show(-1)};\n"
    "over.onpointermove=e=>{const p=where(e);if(!drag){show(nearest(p[0],p[1]));return}\n"
    "if(drag.path)drag.path.push(p);else{cx=drag.cx-(p[0]-drag.from[0])/scale();\n"
    "cy=drag.cy+(p[1]-drag.from[1])/scale()}draw()};\n"
    "over.onpointerup=e=>{const d=drag,p=where(e);drag=null;if(!d)return;\n"
    "if(!d.path){if(Math.hypot(p[0]-d.from[0],p[1]-d.from[1])<4){const i=nearest(p[0],p[1]);\n"
    "if(i>=0)pick(k=>k===i,d.add);show(i)}return}\n"
    "const a=d.path[0],b=p,x0=Math.min(a[0],b[0]),x1=Math.max(a[0],b[0]);\n"
    "const y0=Math.min(a[1],b[1]),y1=Math.max(a[1],b[1]);\n"
    "const box=i=>{const x=px(i),y=py(i);return x>=x0&&x<=x1&&y>=y0&&y<=y1};\n"
    "const loop=i=>{const x=px(i),y=py(i);let odd=false;for(let k=0,j=d.path.length-1;\n",
    "k<d.path.length;j=k++){const[u,v]=d.path[k],[s,t]=d.path[j];\n"
    "if((v>y)!==(t>y)&&x<(s-u)*(y-v)/(t-v)+u)odd=!odd}return odd};\n"
    "pick(mode==='box'?box:loop,d.add)};\n"
    "over.onpointerleave=()=>show(-1);over.ondblclick=reset;\n"
    "over.onkeydown=e=>{const step=40/scale(),k=e.key;let used=true;\n"
    "if(k==='ArrowLeft')cx-=step;else if(k==='ArrowRight')cx+=step;\n"
    "else if(k==='ArrowUp')cy+=step;else if(k==='ArrowDown')cy-=step;\n"
    "else if(k==='+'||k==='=')zoom_at(W/2,H/2,1.25);else if(k==='-')zoom_at(W/2,H/2,.8);\n"
    "else if(k==='0')reset();else if(k==='Escape'){pick(()=>false,false);show(-1)}\n"
    "else if(k==='n'||k==='p'){let i=hover,by=k==='n'?1:n-1,tries=0;\n"
    "do i=(Math.max(i,by>1?0:-1)+by)%n;while(!shown[i]&&++tries<n);if(shown[i]){cx=X[i];cy=Y[i];\n"
    "draw();show(i,true)}}\n"
    "else if(k==='Enter'&&hover>=0){const i=hover;pick(k=>k===i,true);show(i,true)}\n"
    "else used=false;if(used){e.preventDefault();draw()}};\n"
    "// controls\n"
    "D.columns.forEach((c,k)=>$('by').add(new Option(c.name,k)));$('by').value=colour;\n"
    "$('by').onchange=()=>{colour=+$('by').value;hidden=new Set();legend();restyle()};\n"
    "$('find').oninput=()=>{query=$('find').value;restyle()};\n"
    "$('size').oninput=draw;$('alpha').oninput=restyle;$('rings').onchange=restyle;\n"
    "$('only').onchange=()=>{only=$('only').checked;restyle()};\n"
    "document.querySelectorAll('.modes button').forEach(b=>b.onclick=()=>{mode=b.value;\n"
    "over.style.cursor=mode==='pan'?'grab':'crosshair';\n"
    "document.querySelectorAll('.modes button').forEach(o=>\n"
    "o.setAttribute('aria-pressed',o===b))});\n"
    "$('reset').onclick=reset;$('clear').onclick=()=>pick(()=>false,false);\n"
    "$('csv').onclick=()=>save('selection.csv',new Blob([csv()],{type:'text/csv'}));\n"
    "$('png').onclick=()=>picture().toBlob(b=>save('points.png',b));\n"
    "document.querySelector('form').onsubmit=e=>e.preventDefault();\n"
    "document.querySelectorAll('.marks').forEach(e=>e.hidden=!D.marked);\n"
    "if(D.marked)document.querySelectorAll('.marks span').forEach(e=>\n"
    "e.textContent=e.textContent.replace('%',D.marked_name));\n"
    "$('size').value=n>20000?3:n>5000?4:n>1000?6:8;\n"
    "window.addEventListener('resize',resize);\n"
    "legend();restyle();resize();\n"
    "window.points={at:i=>[px(i),py(i)],csv,picture,view:view.name,\n"
    "state:()=>({zoom,cx,cy,hover,matches,picked:picked.reduce((a,b)=>a+b,0),\n"
    "shown:shown.reduce((a,b)=>a+b,0)})};\n"
    "</script>\n"};

#define ITP_POINTS_SPRITE                                                                          \
    4096 /* pixels a side: textures and data URIs of that size open everywhere */
#define ITP_POINTS_MOST 2000000

/* A string in JSON that cannot end the script element it stands in. */
ITP_FN void itp_points_string(itp_buf *b, const char *text)
{
    itp_buf_byte(b, '"');
    for (const char *s = text ? text : ""; *s; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c < 32 || c == '<' || c == '>' || c == '&') itp_buf_printf(b, "\\u%04x", (unsigned)c);
        else if (c == '"' || c == '\\') itp_buf_printf(b, "\\%c", *s);
        else itp_buf_byte(b, *s);
    }
    itp_buf_byte(b, '"');
}

/* 16-bit numbers, low byte first, as base64. get: number i. */
ITP_FN interp_status itp_points_words(interp_ctx *ctx, itp_buf *b, const uint16_t *v, size_t n)
{
    uint8_t *bytes = (uint8_t *)interp_alloc(ctx, 2 * n);
    if (!bytes) return INTERP_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        bytes[2 * i] = (uint8_t)v[i], bytes[2 * i + 1] = (uint8_t)(v[i] >> 8);
    itp_buf_byte(b, '"');
    itp_html_base64(b, bytes, 2 * n);
    itp_buf_byte(b, '"');
    interp_free(ctx, bytes);
    return INTERP_OK;
}

/* Places in a square, 65535 for what is not finite. */
ITP_FN interp_status itp_points_places(interp_ctx *ctx, itp_buf *b, const interp_points_desc *d)
{
    const size_t n = (size_t)d->n, ld = (size_t)d->dims;
    double low[2] = {0, 0}, high[2] = {0, 0}, middle[2], span = 0;
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        const float *at = d->xy + i * ld;
        if (!itp_is_finite(at, ld)) continue;
        for (size_t k = 0; k < 2; k++) {
            const double v = k < ld ? (double)at[k] : 0;
            if (!any || v < low[k]) low[k] = v;
            if (!any || v > high[k]) high[k] = v;
        }
        any = true;
    }
    for (int k = 0; k < 2; k++) {
        middle[k] = (low[k] + high[k]) / 2;
        span = high[k] - low[k] > span ? high[k] - low[k] : span;
    }
    if (!(span > 0)) span = 1;
    uint16_t *at = (uint16_t *)interp_alloc(ctx, 2 * n * sizeof *at);
    if (!at) return INTERP_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 2; k++) {
            const float *from = d->xy + i * ld;
            const double v = k < ld ? (double)from[k] : 0;
            at[2 * i + k] = itp_is_finite(from, ld)
                                ? (uint16_t)(65534 * ((v - middle[k]) / span + 0.5) + 0.5)
                                : (uint16_t)65535;
        }
    itp_buf_printf(b, "\"low\":[%.9g,%.9g],\"span\":%.9g,\"xy\":", middle[0] - span / 2,
                   middle[1] - span / 2, span);
    const interp_status status = itp_points_words(ctx, b, at, 2 * n);
    interp_free(ctx, at);
    return status;
}

/* Classes with their names; those below 0 are not known. */
ITP_FN interp_status itp_points_classes(interp_ctx *ctx, itp_buf *b,
                                        const interp_projector_column *c, int n)
{
    int most = -1;
    uint16_t *of = (uint16_t *)interp_alloc(ctx, (size_t)n * sizeof *of);
    if (!of) return INTERP_NO_MEMORY;
    for (int i = 0; i < n; i++) {
        const int v = itp_min(c->classes[i], 65534);
        of[i] = (uint16_t)(v < 0 ? 65535 : v);
        most = itp_max(most, v);
    }
    itp_buf_str(b, "\"kind\":\"class\",\"names\":[");
    for (int k = 0; k <= most; k++) {
        char number[16];
        snprintf(number, sizeof number, "%d", k);
        if (k) itp_buf_byte(b, ',');
        itp_points_string(b, c->class_names && c->class_names[k] ? c->class_names[k] : number);
    }
    itp_buf_str(b, "],\"data\":");
    const interp_status status = itp_points_words(ctx, b, of, (size_t)n);
    interp_free(ctx, of);
    return status;
}

ITP_FN interp_status itp_points_values(interp_ctx *ctx, itp_buf *b, const float *values, int n)
{
    uint8_t *bytes = (uint8_t *)interp_alloc(ctx, 4 * (size_t)n);
    if (!bytes) return INTERP_NO_MEMORY;
    for (int i = 0; i < n; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &values[i], sizeof bits);
        for (int k = 0; k < 4; k++) bytes[4 * i + k] = (uint8_t)(bits >> (8 * k));
    }
    itp_buf_str(b, "\"kind\":\"value\",\"data\":\"");
    itp_html_base64(b, bytes, 4 * (size_t)n);
    itp_buf_byte(b, '"');
    interp_free(ctx, bytes);
    return INTERP_OK;
}

ITP_FN interp_status itp_points_columns(interp_ctx *ctx, itp_buf *b, const interp_points_desc *d)
{
    itp_buf_str(b, ",\"columns\":[");
    for (int k = 0; k < d->n_columns; k++) {
        const interp_projector_column *c = &d->columns[k];
        itp_buf_str(b, k ? ",{\"name\":" : "{\"name\":");
        itp_points_string(b, c->name);
        itp_buf_byte(b, ',');
        if (c->texts) {
            itp_buf_str(b, "\"kind\":\"text\",\"texts\":[");
            for (int i = 0; i < d->n; i++) {
                if (i) itp_buf_byte(b, ',');
                itp_points_string(b, c->texts[i]);
            }
            itp_buf_byte(b, ']');
        } else if (c->classes) {
            ITP_TRY(itp_points_classes(ctx, b, c, d->n));
        } else {
            ITP_TRY(itp_points_values(ctx, b, c->values, d->n));
        }
        itp_buf_byte(b, '}');
    }
    itp_buf_str(b, "]");
    return b->status;
}

/* Size of a thumbnail, such that all fit the sprite. */
ITP_FN void itp_points_thumb(const interp_points_desc *d, int *columns, int *width, int *height)
{
    const int larger = itp_max(d->width, d->height);
    *columns = (int)ceil(sqrt((double)d->n));
    const int room = itp_max(1, itp_min(ITP_POINTS_SPRITE / *columns, 64));
    *width = larger > room ? itp_max(1, d->width * room / larger) : d->width;
    *height = larger > room ? itp_max(1, d->height * room / larger) : d->height;
}

ITP_FN interp_status itp_points_sprite(interp_ctx *ctx, itp_buf *b, const interp_points_desc *d)
{
    int columns, width, height;
    interp_image sprite;
    uint8_t *png = NULL;
    size_t bytes = 0;
    itp_points_thumb(d, &columns, &width, &height);
    ITP_TRY(itp_sprite_draw(ctx, d->images, d->n, d->channels, d->height, d->width, d->colormap,
                            d->image_min, d->image_max, columns, width, height, &sprite));
    const interp_status status = interp_image_png(ctx, &sprite, &png, &bytes);
    interp_image_free(ctx, &sprite);
    if (status) return status;
    itp_buf_str(b, "<img id=\"sprite\" hidden alt=\"\" src=\"data:image/png;base64,");
    itp_html_base64(b, png, bytes);
    itp_buf_str(b, "\">\n");
    interp_free(ctx, png);
    return b->status;
}

/* Everything the script reads. */
ITP_FN interp_status itp_points_data(interp_ctx *ctx, itp_buf *b, const interp_points_desc *d)
{
    itp_buf_printf(b,
                   "<script type=\"application/json\" id=\"data\">{\"n\":%d,\"colour\":%d,"
                   "\"plain\":%s,\"title\":",
                   d->n, d->colour, d->plain ? "true" : "false");
    itp_points_string(b, d->title);
    itp_buf_byte(b, ',');
    ITP_TRY(itp_points_places(ctx, b, d));
    ITP_TRY(itp_points_columns(ctx, b, d));
    itp_buf_str(b, ",\"palette\":[");
    for (int k = 0; k < 12; k++)
        itp_buf_printf(b, "%s\"#%06x\"", k ? "," : "", (unsigned)interp_category_rgb(k));
    itp_buf_str(b, "],\"ramp\":[");
    for (int k = 0; k < 17; k++) {
        uint8_t rgb[3];
        interp_colormap_rgb(INTERP_COLORMAP_VIRIDIS, k / 16.0, rgb);
        itp_buf_printf(b, "%s\"#%02x%02x%02x\"", k ? "," : "", (unsigned)rgb[0], (unsigned)rgb[1],
                       (unsigned)rgb[2]);
    }
    itp_buf_byte(b, ']');
    if (d->images) {
        int columns, width, height;
        itp_points_thumb(d, &columns, &width, &height);
        itp_buf_printf(b, ",\"thumb\":{\"columns\":%d,\"width\":%d,\"height\":%d}", columns, width,
                       height);
    }
    if (d->marked) {
        itp_buf_str(b, ",\"marked_name\":");
        itp_points_string(b, d->marked_name ? d->marked_name : "misclassified");
        itp_buf_str(b, ",\"marked\":\"");
        itp_html_base64(b, d->marked, (size_t)d->n);
        itp_buf_byte(b, '"');
    }
    itp_buf_str(b, "}</script>\n");
    return b->status;
}

static const char itp_points_body[] =
    "<form aria-label=\"view\">\n"
    "<label>Colour by<select id=\"by\"></select></label>\n"
    "<label>Search text or #index<input type=\"search\" id=\"find\"></label>\n"
    "<div class=\"modes\" role=\"group\" aria-label=\"what dragging does\">\n"
    "<button type=\"button\" value=\"pan\" aria-pressed=\"true\">Move</button>\n"
    "<button type=\"button\" value=\"box\" aria-pressed=\"false\">Box</button>\n"
    "<button type=\"button\" value=\"lasso\" aria-pressed=\"false\">Lasso</button></div>\n"
    "<label>Size<input type=\"range\" id=\"size\" min=\"1\" max=\"20\" step=\"0.5\"></label>\n"
    "<label>Opacity<input type=\"range\" id=\"alpha\" min=\"0.1\" max=\"1\" step=\"0.05\" "
    "value=\"0.85\"></label>\n"
    "<label class=\"tick marks\"><input type=\"checkbox\" id=\"rings\" checked>"
    "<span>ring if %</span></label>\n"
    "<label class=\"tick marks\"><input type=\"checkbox\" id=\"only\"><span>only %</span></label>\n"
    "<button type=\"button\" id=\"reset\">Reset view</button>\n"
    "<button type=\"button\" id=\"png\">Save PNG</button>\n"
    "</form>\n"
    "<main>\n<div id=\"plot\"><canvas id=\"points\"></canvas><canvas id=\"over\" tabindex=\"0\" "
    "role=\"application\" aria-label=\"points: arrow keys move, plus and minus zoom, 0 resets, n and p "
    "go from point to point, Enter selects, Escape clears\"></canvas>"
    "<div id=\"tip\" hidden></div></div>\n"
    "<aside id=\"side\"><h2 id=\"named\"></h2><div id=\"legend\"></div></aside>\n</main>\n"
    "<section id=\"picked\" hidden aria-label=\"selection\"><p><strong id=\"count\"></strong>"
    "<button type=\"button\" id=\"csv\">Export CSV</button>"
    "<button type=\"button\" id=\"clear\">Clear</button></p><table id=\"rows\"></table></section>\n"
    "<footer><output id=\"say\" aria-live=\"polite\"></output><span>wheel zooms, dragging moves, "
    "double click resets; Box and Lasso select, Shift adds</span></footer>\n";

ITP_FN interp_status itp_points_check(interp_ctx *ctx, const interp_points_desc *d)
{
    if (!d || !d->title || !d->xy || d->n < 1 || d->n > ITP_POINTS_MOST || d->dims < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "points: give a title and xy of 1 to %d points",
                        ITP_POINTS_MOST);
    for (int k = 0; k < d->n_columns; k++) {
        const interp_projector_column *c = d->columns ? &d->columns[k] : NULL;
        if (!c || !c->name || (!c->texts && !c->classes && !c->values))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "points: column %d of %d needs a name and texts, classes or values", k,
                            d->n_columns);
    }
    if (d->images && (d->channels < 0 || d->height < 1 || d->width < 1))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "points: images are [%d,%d,%d,%d]; give their sizes", d->n, d->channels,
                        d->height, d->width);
    return INTERP_OK;
}

INTERP_API interp_status interp_points_html(interp_ctx *ctx, const interp_points_desc *desc,
                                            char **html, size_t *bytes)
{
    ITP_TRY(itp_points_check(ctx, desc));
    itp_buf page = itp_buf_new(ctx), *b = &page;
    itp_buf_str(b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                   "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                   "img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
                   "<title>");
    itp_html_text(b, desc->title);
    itp_buf_str(b, "</title>\n");
    for (size_t i = 0; i < sizeof itp_points_style / sizeof *itp_points_style; i++)
        itp_buf_str(b, itp_points_style[i]);
    itp_buf_str(b, "</head>\n<body>\n");
    itp_html_header(b, desc->title, desc->subtitle);
    itp_buf_str(b, itp_points_body);
    interp_status status = desc->images ? itp_points_sprite(ctx, b, desc) : INTERP_OK;
    if (!status) status = itp_points_data(ctx, b, desc);
    for (size_t i = 0; i < sizeof itp_points_script / sizeof *itp_points_script; i++)
        itp_buf_str(b, itp_points_script[i]);
    itp_buf_str(b, "</body>\n</html>\n");
    if (!status) status = b->status;
    if (status) {
        itp_buf_free(b);
        return status;
    }
    *html = b->data;
    *bytes = b->n;
    return INTERP_OK;
}

#ifndef INTERP_NO_STDIO

INTERP_API interp_status interp_points_write(interp_ctx *ctx, const interp_points_desc *desc,
                                             const char *path)
{
    char *html = NULL;
    size_t bytes = 0;
    if (!path) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "points: path is NULL");
    ITP_TRY(interp_points_html(ctx, desc, &html, &bytes));
    const interp_status status = itp_file_write(ctx, path, html, bytes);
    interp_free(ctx, html);
    return status;
}

#endif
