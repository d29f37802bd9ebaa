import django.db.models.deletion
import django.utils.timezone
import erpnext_bridge.crypto
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Connection',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('site', models.CharField(help_text="Alias of the site in ERPNEXT_BRIDGE['SITES'].", max_length=64)),
                ('site_url', models.CharField(help_text='Where the tokens were issued; they are sent nowhere else.', max_length=500)),
                ('erp_user', models.CharField(max_length=140, verbose_name='ERPNext user')),
                ('full_name', models.CharField(blank=True, max_length=255)),
                ('access_token', erpnext_bridge.crypto.EncryptedTextField(editable=False)),
                ('refresh_token', erpnext_bridge.crypto.EncryptedTextField(blank=True, editable=False)),
                ('expires_at', models.DateTimeField(help_text='When the access token expires; it is refreshed before.')),
                ('scopes', models.CharField(blank=True, max_length=500)),
                ('health', models.CharField(choices=[('healthy', 'healthy'), ('needs_reconnect', 'needs to be connected again')], default='healthy', max_length=20)),
                ('reason', models.CharField(blank=True, help_text='Why it needs to be connected again.', max_length=500)),
                ('connected_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('refreshed_at', models.DateTimeField(blank=True, null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='erpnext_connections', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'site'), name='erpnext_bridge_connection_user_site')],
            },
        ),
    ]
